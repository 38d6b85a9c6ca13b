"""Questions to the results, as SQL over Parquet: `analysis.open("results")`, or `python -m analysis`."""

from analysis.warehouse import open

__all__ = ["open"]
