"""Questions to the results, as SQL over Parquet: `analysis.open("results")`, or `python -m analysis`."""

import sweep  # noqa: F401  first: it sees to Ctrl-C while the rest is imported
from analysis.warehouse import open

__all__ = ["open"]
