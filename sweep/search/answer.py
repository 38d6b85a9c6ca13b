"""What a search found: said, left for the report, and written as a study file."""

import json
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import optuna
import yaml
from optuna.trial import FrozenTrial, TrialState
from rich.console import Console

from sweep.arms import listed
from sweep.config import FIELDS
from sweep.search.candidate import Candidate
from sweep.search.tuner import Asker
from sweep.store.places import Place, put
from sweep.study import Study
from sweep.study.identity import Trial
from sweep.study.space import OBJECTIVES
from sweep.study.study import BEST

_ANSWER = "search.json"


# Schedules of which the best tenth is one.
_TENTH = 10


def answer(console: Console, asked: Study, asker: Asker, stopped: int, folder: Place) -> None:
    """Say what is best and what mattered; leave it for the report, and the best schedule as a study file."""
    best, shares = asker.best(), _importances(asker)
    found = {
        "study": asked.name,
        "sampler": asker.search.sampler,
        "objectives": asker.search.objectives,
        "seeds": asker.search.seeds,
        "trials": asker.ran,
        "stopped": stopped,
        "known": asker.warm,
        "best": [_described(candidate) for candidate in best],
        "importances": shares,
    }
    put(folder / _ANSWER, lambda file: file.write(f"{json.dumps(found, indent=2)}\n".encode()))
    if not best:
        seeds = asker.search.seeds
        console.out(f"no schedule was measured with {seeds} seeds yet, or none is an answer", highlight=False)
        return
    console.out(
        "best on validation data, with 95 % Student-t intervals over seeds (selected: both accuracies are of "
        "the runs that chose):",
        highlight=False,
    )
    for candidate in best:
        validation, test = (candidate.interval(column) for column in ("val_accuracy", "test_accuracy"))
        density = candidate.mean("density")
        console.out(
            f"  {listed(candidate.chosen)}: validation {validation}, test {test}, density {density:.4g}",
            highlight=False,
        )
    for objective, ranked in shares.items():
        matters = ", ".join(f"{name} {share:.0%}" for name, share in ranked.items())
        console.out(f"what mattered for {objective}: {matters}", highlight=False)
    path = folder / "best.yaml"
    put(path, lambda file: file.write(_as_study(asked, best).encode()))
    how = "python -m sweep.launch " if isinstance(path, Path) else ""
    console.out(
        f"the best as a study: {how}{path}; with other seeds its accuracy can be quoted", highlight=False
    )


def _importances(asker: Asker) -> dict[str, dict[str, float]]:
    """Objective → dimension → its share in what brings a schedule among the best tenth (PED-ANOVA)."""
    found: dict[str, dict[str, float]] = {}
    told = asker.study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    if len(told) < _TENTH or len(asker.search.dimensions) < 2:
        return found
    for index, objective in enumerate(asker.search.objectives):
        sign = -1.0 if OBJECTIVES[objective][1] else 1.0

        def loss(trial: FrozenTrial, index: int = index, sign: float = sign) -> float:
            value: float = trial.values[index]
            return sign * value

        with suppress(ValueError, RuntimeError):  # of trials that are all alike
            found[objective] = optuna.importance.get_param_importances(asker.study, target=loss)
    return found


def _described(candidate: Candidate) -> dict[str, Any]:
    """A schedule of the answer, as the report reads it."""
    accuracies = {column: candidate.values(column) for column in ("val_accuracy", "test_accuracy")}
    network = {"density": candidate.mean("density"), "cost": candidate.mean("macs_masked")}
    return {"schedule": candidate.chosen, **accuracies, **network}


def _as_study(asked: Study, best: Sequence[Candidate]) -> str:
    """A study file of these schedules, each with all its seeds."""
    blocks = []
    for candidate in best:
        seeds = sorted(Trial.parse(row["config"]).config.seed for row in candidate.rows.values())
        config = candidate.trial(0).config
        values = {name: getattr(config, name) for name in FIELDS}
        said = {name: value for name, value in values.items() if value != FIELDS[name].default}
        # Left out, it would be the criterion's own number.
        blocks.append({**said, "iterations": config.iterations, "seed": seeds})
    text = yaml.safe_dump({"name": f"{asked.name}{BEST}", "blocks": blocks}, sort_keys=False)
    return f"# The best that the search {asked.name} found.\n{text}"
