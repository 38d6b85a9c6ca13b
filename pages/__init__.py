"""The pages of docs/ that are made from the code and from the studies: `python -m pages` writes them."""
