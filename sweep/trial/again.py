"""An earlier trial: found by its id, run again in this process, and compared with its row."""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch

import pruners
from pruners import interop
from sweep import parts, study
from sweep.data import TASKS
from sweep.errors import BadInput
from sweep.models import weights
from sweep.names import RUN
from sweep.parts.guard import settings_kept
from sweep.store import kept, launches, lookup
from sweep.store import weights as sent
from sweep.store.lookup import Recorded
from sweep.store.places import Place
from sweep.store.schema import is_timing
from sweep.study.consistency import check
from sweep.study.identity import Trial
from sweep.study.library import PART_FIELDS
from sweep.trial import masking
from sweep.trial.prefixes import Shared
from sweep.trial.rows import Row
from sweep.trial.run import one_thread, prepared
from sweep.trial.stages import Stages
from sweep.trial.starts import Starts

_ID = re.compile(r"[0-9a-f]{1,16}")
# Ids that an error lists.
_LISTED = 3


@dataclass(frozen=True)
class Earlier:
    """A trial, and its row among the results; None: no result is of this trial."""

    trial: Trial
    recorded: Recorded | None


def find(text: str, root: Place) -> Earlier:
    """The trial that a text means.

    Args:
        text: an id, the beginning of an id, or a canonical config.
        root: the folder of the results of one study, or of all studies.

    Raises:
        BadInput: the text means no trial, or several.
    """
    if text.lstrip().startswith("{"):
        trial = _parsed(text)
        return Earlier(trial, lookup.beginning_with(root, trial.id).get(trial.id))
    if not _ID.fullmatch(text):
        raise BadInput(f"{text}: no id of a trial: up to 16 digits of 0-9 and a-f, or a canonical config")
    matches = lookup.beginning_with(root, text)
    if not matches:
        raise BadInput(f"{text}: no trial under {root} has an id that begins so")
    if len(matches) > 1:
        listed = ", ".join(sorted(matches)[:_LISTED]) + (", …" if len(matches) > _LISTED else "")
        raise BadInput(f"{text}: {len(matches)} trials have ids that begin so: {listed}: give more digits")
    [(trial_id, recorded)] = matches.items()
    earlier = Trial.of_row(trial_id, recorded.row["config"])
    if not earlier:
        raise BadInput(f"{trial_id}: this trial is of another version: it cannot be run again")
    return Earlier(earlier, recorded)


def _parsed(text: str) -> Trial:
    try:
        trial = Trial.parse(text)
        canonical = json.loads(text) == json.loads(trial.canonical)
    except (TypeError, ValueError, LookupError, AttributeError):
        canonical = False
    if not canonical:
        raise BadInput("this is no canonical config: copy the text of the column config")
    return trial


def need_parts(trial: Trial, path: Path | None) -> None:
    """Make the parts of one's own that a trial names known to this process.

    Args:
        path: of the study file that names them; None: none is given.

    Raises:
        BadInput: the study names no such part, or its code is other code than the trial's.
    """
    declared = study.load(path).parts if path else {}
    for name in map(trial.config.value, PART_FIELDS):
        if not name or not parts.is_name(name) or name in declared:
            continue
        label, _, code = name.rpartition("@")
        if not path:
            raise BadInput(
                f"{label}: it is no built-in part: give the study that names it, --study STUDY.yaml"
            )
        others = [part.code for part in declared.values() if part.label == label]
        if not others:
            raise BadInput(f"{path}: it does not name {label}, which the trial needs")
        raise BadInput(f"{path}: {label} is of code {others[0]}, the trial's is {code}: bring that code back")


def starts(trial: Trial, root: Place, data_root: str, device: str) -> Starts:
    """The trained weights that a trial may start from.

    Args:
        root: the folder of the results of one study, or of all studies.
    """
    every = lookup.of_all_studies(root)
    final = (trial.config.weights or "").startswith(RUN)
    rows = lookup.beginning_with(every, "") if final else {}
    configs = {name: each.row["config"] for name, each in rows.items()}
    return Starts(every / sent.FOLDER, data_root, device, configs)


def run_again(
    trial: Trial, data_root: str, device: str, starts: Starts, follow: Callable[[Row], object]
) -> tuple[Stages, Row]:
    """Run a trial in this process, without states of other trials.

    Args:
        follow: called with the row of each epoch when the epoch ends.

    Returns:
        The stages, with the final network and its masks; the columns of `trials` that say how it ended.

    Raises:
        BadInput: as `sweep.trial.run`.
        Exception: whatever fails in the trial.
    """
    check(trial.config)
    on = torch.device(device)
    with one_thread(on), settings_kept():
        stages = prepared(trial.config, data_root, on, Shared(weights=starts))
        stages.recorder.follow = follow
        outcome = stages.run().outcome()
    return stages, outcome


def from_kept(earlier: Earlier, data_root: str, device: str, starts: Starts) -> tuple[Stages, Row]:
    """The final network of a trial from the weights that its study kept, without training.

    Returns:
        As `run_again`; of the columns those of the final network.

    Raises:
        BadInput: no weights of the trial are kept, or the file is of another network.
    """
    trial, recorded = earlier.trial, earlier.recorded
    file = kept.file(recorded.folder, trial.id) if recorded else None
    if not file or not file.is_file():
        raise BadInput(f"--kept: no weights of {trial.id} are kept: leave --kept out, and it is run again")
    on = torch.device(device)
    with one_thread(on), settings_kept():
        stages = prepared(trial.config, data_root, on, Shared(weights=starts))
        _load(stages, file, weights.parse(file.name, file.read_bytes()))
        loss, accuracy = stages.training.evaluate(stages.data.test)
    return stages, {
        "status": "ok",
        "headline": TASKS[stages.data.task].headline,
        "test_loss": loss,
        "test_accuracy": accuracy,
        "params": stages.total,
        "kept": stages.training.kept,
        "density": stages.training.kept / stages.total,
    }


def _load(stages: Stages, file: Place, given: weights.State) -> None:
    """Load the content of a file of kept weights, and put on its masks.

    Raises:
        BadInput: the file is of another network.
    """
    masks = interop.masks_of(given)
    added = masking.added_biases(stages.config, stages.model, stages.exclude)
    stages.prune(pruners.Step({}, {}, added), measured=False)
    if stages.config.shrink:
        # The masks are of the whole network: of some there is no weight any more.
        masks = {name: given[f"{name}_mask"] for name in stages.model.state_dict() if f"{name}_mask" in given}
        given = {
            name: value
            for name, value in given.items()
            if name.removesuffix("_mask") not in masks or name in masks
        }
    else:
        weights.load(stages.model, file.name, given)
    masks = {name: mask.to(stages.data.device) for name, mask in masks.items()}
    try:
        pruners.apply_masks(stages.model, masks)
    except ValueError as error:
        raise BadInput(f"{file}: it is of another network: {error}") from None
    stages.mask(masks)
    if stages.config.shrink:
        stages.shrink()
        weights.load(stages.model, file.name, given)


def compared(outcome: Row, recorded: Recorded | None, device: str) -> str:
    """One line: the accuracy of a trial that was run again, and how far it is from the accuracy of its row.

    Args:
        outcome: the columns of `trials` of the new run.
        device: that the new run was on.
    """
    if outcome["status"] != "ok":
        return _of_no_accuracy(str(outcome["status"]), recorded)
    accuracy = outcome["test_accuracy"]
    line = f"test {outcome['headline']} {accuracy:.4f}"
    if not recorded:
        return f"{line}; there is no row of this trial to compare with"
    row = recorded.row
    if row["test_accuracy"] is None:
        return f"{line}; the row has none: its status is {row['status']}"
    differing = _differing(outcome, row)
    if not differing:
        return f"{line}, as in the row"
    if "test_accuracy" in differing:
        line += (
            f" differs by {accuracy - row['test_accuracy']:+.4g} from {row['test_accuracy']:.4f} in the row"
        )
    else:
        line += f", as in the row, but for {', '.join(differing)}"
    version = launches.torch_version(recorded.folder, row["launched_at"]) or "of an unknown version"
    ran = f"the row was run on {row['device']} with torch {version}"
    return f"{line}; {ran}, this trial on {device} with torch {torch.__version__}"


def _of_no_accuracy(status: str, recorded: Recorded | None) -> str:
    if recorded and recorded.row["status"] == status:
        return f"{status}, as in the row"
    return status + (f"; the status of the row is {recorded.row['status']}" if recorded else "")


def _differing(outcome: Row, row: Mapping[str, object]) -> list[str]:
    """The columns of a result that differ from the row, without those of its cost and those that are NULL."""
    measured = [name for name in outcome if not is_timing(name) and name != "trained_steps"]
    return [name for name in measured if row.get(name) is not None and outcome[name] != row[name]]
