"""The questions to the results, one file each. `catalog` is the table of them."""
