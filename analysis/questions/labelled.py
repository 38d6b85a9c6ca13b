"""Answers that are a query's rows, with the names of their arms."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import duckdb

from analysis.questions.question import Row
from analysis.warehouse import ask
from analysis.warehouse.arms import Label, label


@dataclass(frozen=True)
class Labelled:
    """Rows of a query, each of one arm.

    Attributes:
        rows: with the column `arm`.
        labels: by arm.
    """

    rows: list[dict[str, Any]]
    labels: Mapping[str, Label]

    @property
    def settings(self) -> list[str]:
        """The settings in which something was pruned, sorted."""
        return sorted({known.setting for known in self.labels.values() if not known.dense})

    @property
    def names(self) -> dict[str, str]:
        """The name of each arm within its setting."""
        return {arm: known.name for arm, known in self.labels.items()}

    def of(self, setting: str) -> list[dict[str, Any]]:
        """The rows of one setting."""
        return [row for row in self.rows if self.labels[row["arm"]].setting == setting]


def labelled(
    query: str, variables: Mapping[str, str] | None = None
) -> Callable[[duckdb.DuckDBPyConnection], Labelled]:
    """Returns a function that answers with the rows of a file in queries/, given its name and variables."""

    def answer(connection: duckdb.DuckDBPyConnection) -> Labelled:
        rows = ask(connection, query, variables)
        return Labelled(rows, label(row["arm"] for row in rows))

    return answer


def named_rows(answer: Labelled) -> list[Row]:
    """The rows with the columns `setting` and `criterion` in place of `arm`, sorted by them and sparsity."""
    named = [
        {"setting": answer.labels[row["arm"]].setting, "criterion": answer.labels[row["arm"]].name}
        | {key: value for key, value in row.items() if key != "arm"}
        for row in answer.rows
    ]
    return sorted(named, key=lambda row: (row["setting"], row["criterion"], row["sparsity"]))
