"""Questions to the results: the statistics of each, and what it says."""
