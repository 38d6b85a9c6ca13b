"""What a launch does about trained weights: it looks for them, tries them, and sends them to the workers."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import torch

from sweep import data, models, parts
from sweep.config import Config
from sweep.errors import BadInput
from sweep.models import weights
from sweep.names import RUN
from sweep.store import results
from sweep.store import weights as sent
from sweep.store.places import Place
from sweep.store.states import Store
from sweep.study import Study
from sweep.study.identity import Trial
from sweep.study.library import PART_FIELDS
from sweep.trial import masking
from sweep.trial.starts import key


def earlier(
    study: Study, trials: Iterable[Trial], results_root: Place, device: str = "cpu"
) -> Mapping[str, str]:
    """trial_id → canonical config, of the trials from whose final weights some trials start.

    Args:
        device: kind of device that the trials run on.

    Raises:
        BadInput: one of them has no result under the results root, or cannot be run again.
    """
    names = {trial.config.weights for trial in trials}
    needed = [name.removeprefix(RUN) for name in sorted(filter(None, names)) if name.startswith(RUN)]
    if not needed:
        return {}
    rows = results.measured(results_root) if results_root.is_dir() else {}
    saved = Store(results_root / sent.FOLDER, device)
    found: dict[str, str] = {}
    while needed:
        trial_id = needed.pop()
        trial = _of_result(trial_id, rows.get(trial_id), results_root)
        found[trial_id] = trial.canonical
        own = [name for name in map(trial.config.value, PART_FIELDS) if name and parts.is_name(name)]
        if lacking := [name for name in own if name not in study.parts and not saved.has(key(trial_id))]:
            raise BadInput(
                f"weights {RUN}{trial_id}: to run this trial again takes {lacking[0]}: "
                f"{study.path} does not name this code"
            )
        start = trial.config.weights or ""
        if start.startswith(RUN):
            needed.append(start.removeprefix(RUN))
    return found


def _of_result(trial_id: str, row: results.Row | None, results_root: Place) -> Trial:
    """The trial of a result, if it can be run again."""
    name = f"weights {RUN}{trial_id}"
    if not row:
        raise BadInput(f"{name}: no trial of this id has a result under {results_root}")
    if row["status"] != "ok":
        raise BadInput(f"{name}: this trial {row['status']}: it has no final weights")
    trial = Trial.of_row(trial_id, row["config"])
    if not trial:
        raise BadInput(f"{name}: this trial is of another version: it cannot be run again")
    return trial


def check(
    study: Study, trials: Sequence[Trial], results_root: Place, data_root: str, device: str = "cpu"
) -> list[str]:
    """Check that the trained weights are here and are weights of the networks of the trials.

    Where the data set is not on this machine, the workers check the shapes.

    Returns:
        For weights of torchvision, a line that says what stays as it is drawn.

    Raises:
        BadInput: they are not.
    """
    starting = [trial.config for trial in trials if trial.config.weights]
    # Of equal kinds the last one counts: a sparse start that suits the lowest sparsity suits all.
    chosen = {_kind(config): config for config in sorted(starting, key=lambda each: -each.sparsity)}
    if not chosen:
        return []
    before = earlier(study, trials, results_root, device)
    files, folder = _files(study, trials, results_root), results_root / sent.FOLDER
    said: dict[str, None] = {}
    for config in chosen.values():
        name = str(config.weights)
        if name in files:
            # The file is read again for each network: a launch has few of these, and files may be large.
            path = files[name]
            given = weights.parse(name, path.read_bytes() if path else sent.read(name, folder))
        network = _network(config, data_root)
        if network and name not in files:
            source = Trial.parse(before[name.removeprefix(RUN)]).config
            other = _network(source, data_root)
            given = other.state_dict() if other else network.state_dict()
            if other and (added := _added(source, other)):
                raise BadInput(
                    f"weights {name}: its compensate: {source.compensate} gave layers biases that "
                    f"{source.model} does not have, such as {added[0]}: take a trial without it"
                )
        if network and (drawn := weights.load(network, name, given)):
            said[f"weights {sent.label(name)}: {' and '.join(drawn)} drawn anew, for {config.dataset}"] = None
        if network and name in files and config.keep_mask:
            masking.start(config, network)
    return list(said)


def _kind(config: Config) -> tuple[object, ...]:
    """All that decides whether trained weights fit."""
    arguments = config.arguments("model"), config.arguments("dataset")
    return (config.weights, config.keep_mask, config.model, config.dataset, *arguments)


def _added(config: Config, network: torch.nn.Module) -> list[str]:
    """The names of the biases that layers of an earlier trial's network got after its prune."""
    return list(masking.added_biases(config, network, masking.excluded(config, network)))


def _network(config: Config, data_root: str) -> torch.nn.Module | None:
    """A config's network; None: its data set is not on this machine."""
    try:
        sizes = data.sizes(config.dataset, data_root, config.validation_fraction, config.arguments("dataset"))
    except BadInput:
        return None
    form, arguments = sizes.form, config.arguments("model")
    return models.build(config.model, form.shape, sizes.classes, 0, dtype=form.dtype, arguments=arguments)


def _files(study: Study, trials: Iterable[Trial], results_root: Place) -> Mapping[str, Path | None]:
    """Name of weights → their file on this machine; None: an earlier launch has sent it to the workers.

    Those of torchvision are downloaded if missing.

    Raises:
        BadInput: a file is missing and cannot be downloaded.
    """
    files: dict[str, Path | None] = {}
    for config in (trial.config for trial in trials):
        name = config.weights
        if not name or name in files or name.startswith(RUN):
            continue
        files[name] = study.weights.get(name)
        if name not in study.weights and not sent.has(name, results_root / sent.FOLDER):
            files[name] = weights.download(config.model, name)
    return files


def send(study: Study, trials: Iterable[Trial], results_root: Place) -> None:
    """Copy the files of trained weights to the folder from which the workers read them.

    Raises:
        BadInput: a file is missing or has changed, or the folder cannot be written to.
    """
    for name, path in _files(study, trials, results_root).items():
        if path:
            sent.send(name, path, results_root / sent.FOLDER)
