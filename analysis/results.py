"""The results of a study or of several in Python: relations of DuckDB over the views."""

from functools import cached_property

import duckdb

from analysis import warehouse
from analysis.warehouse import Places
from sweep.errors import BadInput
from sweep.foreign import html


class Results:
    """Results as tables. `sweep.run` returns those of its study; `analysis.Results("results")` has all.

    A relation is a query that runs when its rows are asked for: `.df()` gives them to pandas, `.pl()` to
    Polars, `.arrow()` to Arrow. `.filter("sparsity > 0.9")`, `.aggregate("criterion, avg(test_accuracy)")`
    and the like make further relations; `help(results.trials())` lists them.

    The views are opened when they are first asked for. Make another `Results` to follow a study that runs.

    Attributes:
        folder: folder or URI of the results of one study, or of several studies; or several of these.
    """

    def __init__(self, folder: Places = "results") -> None:
        self.folder = folder

    @cached_property
    def connection(self) -> duckdb.DuckDBPyConnection:
        """The connection that `analysis.open` gives, which reads the results and nothing else.

        Raises:
            BadInput: the folder does not exist.
        """
        return warehouse.open(self.folder)

    def trials(self) -> duckdb.DuckDBPyRelation:
        """One row for each trial."""
        return self.sql("FROM trials")

    def curves(self) -> duckdb.DuckDBPyRelation:
        """One row for each epoch of each trial."""
        return self.sql("FROM curves")

    def layers(self) -> duckdb.DuckDBPyRelation:
        """One row for each layer of each trial."""
        return self.sql("FROM layers")

    def metrics(self) -> duckdb.DuckDBPyRelation:
        """One row for each further metric of each trial's final network."""
        return self.sql("FROM metrics")

    def sql(self, query: str) -> duckdb.DuckDBPyRelation:
        """The answer to a query over the views trials, curves, layers, metrics and settings.

        Raises:
            BadInput: the query does something other than read, or DuckDB cannot answer it.
        """
        connection = self.connection
        query = warehouse.checked(connection, query)
        return warehouse.retried(connection, lambda: connection.sql(query))

    def __repr__(self) -> str:
        try:
            counts = self.sql("SELECT status, count(*) FROM trials GROUP BY 1 ORDER BY 2 DESC, 1").fetchall()
        except BadInput:  # nothing has been run yet
            counts = []
        said = ", ".join(f"{count:,} {status}" for status, count in counts) or "none yet"
        return f"<results {self.folder}: {said}>"

    def _repr_html_(self) -> str:
        return f"<p>{html(repr(self))}</p>"
