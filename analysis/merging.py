"""Results of several places written into one folder, with where each row is from."""

import json
import re
from collections.abc import Sequence
from typing import Any

from analysis import warehouse
from analysis.warehouse import union
from analysis.warehouse.union import Member
from sweep.errors import BadInput, StoreError
from sweep.store import merging, parts
from sweep.store.merging import Taken
from sweep.store.places import Place, name_of, place, remedy, small

# What the folder of a study may be called.
_NAME = r"\w[\w.-]{0,199}"


def merge(results: Sequence[str], into: str) -> dict[str, list[Taken]]:
    """Write the results of all studies of some places into a folder of studies; what it has already stays.

    A line on stderr counts trials with several accuracies, as for a union of the places.

    Returns:
        Study → what was taken from each of its folders.

    Raises:
        BadInput: a place cannot be read, the folder is that of one study or lies within a place, another
            process writes there, or it cannot be written to.
        StoreError: an object store does not answer.
    """
    target = place(into).resolve()
    if target.is_dir() and parts.are_of_one_study(target):
        raise BadInput(f"--into {into}: the folder of one study: name a folder of studies")
    sources = union.members(results)
    for each in sources:
        if union.is_within(target, each.folder) or union.is_within(each.folder, target):
            raise BadInput(f"--into {into}: it has a place in common with {each.name}: name another folder")
    has_results = target.is_dir() and bool([*target.glob(parts.pattern("trials", one_study=False))])
    warehouse.open([*results, *([into] if has_results else [])]).close()
    studies: dict[str, list[Any]] = {}
    for each in sources:
        for name, folder in _studies(each):
            studies.setdefault(name, []).append(folder)
    return {name: _merge(target / name, folders) for name, folders in sorted(studies.items())}


def _merge(target: Place, folders: Sequence[Place]) -> list[Taken]:
    try:
        return merging.merge(target, folders)
    except StoreError:
        raise
    except OSError as error:
        why = error.strerror or error
        raise BadInput(
            f"{target}: {why}: {remedy(target)} and merge again, what is written is kept"
        ) from None


def _studies(of: Member) -> list[tuple[str, Any]]:
    """The name and the folder of each study of a place."""
    if of.one_study:
        return [(_name(of.folder), of.folder)]
    folders = {part.parent.parent for table in ("trials", "marks") for part in of.parts(table)}
    folders |= {path.parent for path in of.folder.glob("*/study.json")}
    return [(folder.name, folder) for folder in sorted(folders, key=str)]


def _name(folder: Place) -> str:
    """The name of the study that has a folder of its own: a copy may be called otherwise."""
    try:
        name = json.loads(small(folder / "study.json") or "")["study"]
    except (LookupError, RecursionError, TypeError, ValueError):
        return folder.name
    return name if isinstance(name, str) and re.fullmatch(_NAME, name) else folder.name


def sentences(merged: dict[str, list[Taken]]) -> list[str]:
    """What was taken, a line for each study and folder."""
    return [
        f"{study}: from {name_of(each.folder)} {_count(len(each.new), 'row')} of trials"
        + (f" and {_count(len(each.marks), 'row')} of marks" if each.marks else "")
        + f", {len(each.trials) - len(each.new):,} there already"
        for study, taken in merged.items()
        for each in taken
    ]


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'s' * (number != 1)}"
