"""The trials of a study for whose results an SQL condition holds."""

import pyarrow as pa

from sweep.errors import BadInput
from sweep.store import kept, marks, results
from sweep.store.places import Place
from sweep.store.schema import SCHEMAS


def matching(folder: Place, where: str) -> set[str]:
    """The ids of the trials with a result for which a condition holds.

    Args:
        folder: of the study's results.
        where: a condition in SQL over the columns of `trials`, and `tags`, the list of the trial's tags. The
            tables `masks` and `weights` have the column `trial_id`, of the trials of which they are kept.

    Raises:
        BadInput: the condition is not valid SQL.
    """
    # Not with the other imports: a launch freezes these, and DuckDB would complain of that at the end.
    import duckdb

    schema = SCHEMAS["trials"]
    rows = list(results.finished(folder, schema.names).values())
    tags = marks.tags(folder)
    trials = pa.Table.from_pylist(rows, schema=schema)
    trials = trials.append_column(
        "tags", pa.array([tags[row["trial_id"]] for row in rows], pa.list_(pa.string()))
    )
    with duckdb.connect(config={"enable_external_access": False}) as connection:
        connection.register("trials", trials)
        for name, ids in (("masks", results.trials_in(folder, "masks")), ("weights", kept.trials(folder))):
            connection.register(name, pa.table({"trial_id": pa.array(sorted(ids), pa.string())}))
        try:
            matched = connection.execute(f"SELECT trial_id FROM trials WHERE ({where}\n)").fetchall()
        except duckdb.Error as error:
            raise BadInput(f"--rerun {where}: {error}") from None
    return {name for (name,) in matched}
