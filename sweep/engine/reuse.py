"""What a launch does about results that other studies have: it finds them, and takes them over.

Only results are looked for whose config is, letter for letter, that of a trial of the study. Whatever else
identifies the trial is not believed: it is written anew.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from sweep.errors import BadInput, StoreError
from sweep.store import kept, marks, parts, results
from sweep.store.kept import Keep
from sweep.store.places import Place, Remote, name_of, place, remedy
from sweep.store.schema import SCHEMAS
from sweep.study import Study
from sweep.study.identity import Trial

# Parts that are looked at in parallel, and the bytes from which on less than a whole object is read.
_AT_ONCE, _LARGE = 32, 1_000_000


@dataclass(frozen=True)
class Found:
    """Results of trials of a study, in the folder of another study.

    Attributes:
        folder: that folder.
        source: its name, or its URI.
        tables: table → rows. Each trial has one row in `trials`, as the study is to have it.
        keep: what the study keeps of the networks, and so takes over with the rows; None: nothing.
    """

    folder: Place
    source: str
    tables: Mapping[str, pa.Table]
    keep: Keep | None = None

    @property
    def trials(self) -> pa.Table:
        """The rows of `trials`."""
        return self.tables["trials"]

    def rows(self, table: str) -> Iterator[pa.Table]:
        """The rows of a table, part by part where they are large. Some may come twice."""
        if table in self.tables:
            yield self.tables[table]
        elif self.keep:
            ids = self.trials["trial_id"].combine_chunks()
            yield from results.read_by_part(self.folder, table, ids)

    def done(self) -> dict[str, results.Row]:
        """trial_id → the columns that `results.finished` gives."""
        columns = ["trial_id", "status", "finished_at", *results.SHOWN]
        return {row["trial_id"]: row for row in self.trials.select(columns).to_pylist()}


def libraries(names: Iterable[str]) -> list[Place]:
    """The folders or prefixes in an object store with these names.

    Raises:
        BadInput: one does not exist, or cannot be read.
        StoreError: an object store does not answer.
    """
    roots = []
    for name in names:
        root = place(name).resolve()
        try:
            if not root.is_dir():
                raise BadInput(f"--known {name}: no such folder of results")
            results.folders(root)
        except StoreError:
            raise
        except OSError as error:
            raise BadInput(f"--known {name}: {error.strerror}: make it readable, or leave it out") from None
        roots.append(root)
    return roots


def find(study: Study, missing: Sequence[Trial], folder: Place, known: Iterable[Place]) -> list[Found]:
    """Results of missing trials that other studies have: those beside the study's folder, then libraries.

    Nothing is written. Of several studies with the same trial the first one counts, by its name.

    Args:
        missing: trials of the study without a result in its folder.
        folder: of the study's results.
        known: libraries, each the folder of one study or of several.

    Raises:
        OSError: an object store does not answer.
    """
    wanted: dict[str, Trial] = {}
    found = []
    for other in _folders(folder, known) if missing else ():
        listed = parts.list_parts(other / "trials")
        if not listed:
            continue
        # Without other studies no trial needs its id yet.
        wanted = wanted or {trial.id: trial for trial in missing}
        if _may_have(listed, pa.array(wanted, pa.string())) and (there := _found(study, wanted, other)):
            found.append(there)
            taken = there.done()
            wanted = {name: trial for name, trial in wanted.items() if name not in taken}
            if not wanted:
                break
    return found


def ids(folder: Place, known: Iterable[Place]) -> set[str]:
    """The ids of all trials that other studies have rows of: those beside a study's folder, and libraries.

    Args:
        folder: of the study's results.
        known: libraries.

    Raises:
        OSError: an object store does not answer.
    """
    return {name for other in _folders(folder, known) for name in results.trials_in(other, "trials")}


def take_over(found: Found, folder: Place) -> None:
    """Write found results into a study's folder, `trials` last, as those of its own trials are written.

    Raises:
        BadInput: the disk or the store refused; what was written before is kept.
    """
    try:
        if found.keep and found.keep.weights:
            for name in found.trials["trial_id"].to_pylist():
                kept.copy(name, found.folder, folder)
        for table in SCHEMAS:
            for rows in found.rows(table):
                if len(rows):
                    results.write_part(folder, table, rows)
    except OSError as error:
        why = error.strerror or error
        raise BadInput(
            f"{folder}: {why}: results of {found.source} cannot be written; {remedy(folder)} and launch again"
        ) from None


def _folders(folder: Place, known: Iterable[Place]) -> Iterator[Place]:
    """What may be the folder of another study: beside a study's own folder, and in libraries."""
    own, root = folder.resolve(), folder.parent
    beside = results.folders(root) if root.is_dir() else []
    for library in known:
        beside += [library] if parts.are_of_one_study(library) else results.folders(library)
    for other in beside:
        if other.resolve() != own:
            yield other


def _found(study: Study, wanted: Mapping[str, Trial], other: Place) -> Found | None:
    """The results of wanted trials in the folder of another study that have all their rows."""
    tables = {"trials": _successes(other, wanted)}
    ids = _kept(study.keep, other, tables["trials"]["trial_id"].combine_chunks())
    if not len(ids):
        return None
    for table in ("curves", "layers", "metrics"):
        tables[table] = results.read_table(other, table, SCHEMAS[table].names, ids)
    # A study's analyses shall not depend on whose results it took over: metrics are those that it asks for.
    asked = pc.is_in(tables["metrics"]["name"], pa.array(study.metrics, pa.string()))
    tables["metrics"] = tables["metrics"].filter(asked)
    needed = [tables["curves"], tables["layers"]]
    needed += [tables["metrics"].filter(pc.field("name") == name) for name in study.metrics]
    for rows in needed:
        ids = ids.filter(pc.is_in(ids, rows["trial_id"].combine_chunks()))
    if not len(ids):
        return None
    tables = {table: rows.filter(pc.is_in(rows["trial_id"], ids)) for table, rows in tables.items()}
    source = name_of(other)
    tables["trials"] = _of_study(tables["trials"], study.name, source, wanted)
    return Found(other, source, tables, study.keep)


def _kept(keep: Keep | None, other: Place, ids: pa.Array) -> pa.Array:
    """The trials among some of which a folder has what a study keeps."""
    if not keep or not len(ids):
        return ids
    return ids.filter(pc.is_in(ids, pa.array(sorted(keep.of(other)), pa.string())))


def _may_have(listed: Iterable[Place], ids: pa.Array) -> bool:
    """Whether parts of `trials` may have a success of some trials: a quick look, which spares reading."""
    with ThreadPoolExecutor(_AT_ONCE) as threads:
        return any(threads.map(lambda part: _part_may_have(part, ids), listed))


def _part_may_have(part: Place, ids: pa.Array) -> bool:
    if isinstance(part, Remote) and part.size > _LARGE:
        # Whatever is wrong with the object or the way to it is said when it is read as a whole.
        with suppress(parts.NotAPart, OSError):
            return parts.may_have(part.open_in_place(), ids)
    try:
        return parts.may_have(part.read_bytes() if isinstance(part, Remote) else part, ids)
    except FileNotFoundError:  # merged into another part meanwhile, which is read later
        return True
    except parts.NotAPart as why:
        parts.leave_aside(part, str(why))
        return False


def _successes(other: Place, wanted: Mapping[str, Trial]) -> pa.Table:
    """The latest valid success of each wanted trial: rows of `trials` whose config is the trial's own."""
    ids = pa.array(wanted, pa.string())
    rows = results.read_table(other, "trials", SCHEMAS["trials"].names, ids)
    rows = rows.filter(pc.field("status") == "ok")
    invalid = marks.invalid(other)
    numbered = enumerate(rows.select(["trial_id", "config", "source", "status", "finished_at"]).to_pylist())
    last = {
        row["trial_id"]: number
        for number, row in sorted(numbered, key=lambda each: results.precedence(each[1]))
        if row["config"] == wanted[row["trial_id"]].canonical and not invalid.holds(row)
    }
    return rows.take(pa.array(last.values(), pa.int64()))


def _of_study(trials: pa.Table, study: str, source: str, wanted: Mapping[str, Trial]) -> pa.Table:
    """Rows of `trials` with the columns that identify trials of a study, and where the rows come from."""
    new: list[dict[str, Any]] = [
        {**wanted[name].columns(), "study": study, "source": source}
        for name in trials["trial_id"].to_pylist()
    ]
    schema = SCHEMAS["trials"]
    columns = pa.Table.from_pylist(new, schema=pa.schema([schema.field(name) for name in new[0]]))
    for field in columns.schema:
        trials = trials.set_column(schema.get_field_index(field.name), field, columns[field.name])
    return trials
