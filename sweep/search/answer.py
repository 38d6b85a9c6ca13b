"""The answer of a search: printed, saved for the report, and written as a study file."""

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
from sweep.reporter import conclude, note
from sweep.search.candidate import Candidate
from sweep.search.tuner import Tuner
from sweep.store.places import Place, put
from sweep.study import Study
from sweep.study.identity import Trial
from sweep.study.space import OBJECTIVES
from sweep.study.study import BEST

_ANSWER = "search.json"


# Schedules below which the best tenth is less than one schedule.
_TENTH = 10


def answer(console: Console, study: Study, tuner: Tuner, stopped: int, folder: Place) -> None:
    """Print the best schedules and the importances; save them for the report and as a study file.

    Args:
        stopped: number of trials that were stopped early.
        folder: of the study's results; `search.json` and `best.yaml` are written there.
    """
    search, best, importances = tuner.search, tuner.best(), _importances(tuner)
    report = {
        "study": study.name,
        "sampler": search.sampler,
        "objectives": search.objectives,
        "seeds": search.seeds,
        "trials": tuner.ran,
        "stopped": stopped,
        "known": tuner.history.warm,
        "best": [_described(candidate) for candidate in best],
        "importances": importances,
    }
    note(console, **report)
    put(folder / _ANSWER, lambda file: file.write(f"{json.dumps(report, indent=2)}\n".encode()))
    if not best:
        said = (
            f"no answer: no schedule has results with {search.seeds} seeds yet, or none is within the bounds"
        )
        conclude(console, said)
        return
    conclude(
        console,
        f"best by validation {best[0].metric}, with 95 % Student-t intervals over seeds; the same runs chose "
        "the schedules, so both numbers are likely to be too high:",
    )
    for candidate in best:
        validation, test = (candidate.interval(column) for column in ("val_accuracy", "test_accuracy"))
        density = candidate.mean("density")
        conclude(
            console,
            f"  {listed(candidate.chosen)}: validation {validation}, test {test}, density {density:.4g}",
        )
    for objective, ranked in importances.items():
        matters = ", ".join(f"{name} {share:.0%}" for name, share in ranked.items())
        console.out(f"what mattered for {objective}: {matters}", highlight=False)
    path = folder / "best.yaml"
    put(path, lambda file: file.write(_as_study(study, best).encode()))
    how = "python -m sweep.launch " if isinstance(path, Path) else ""
    console.out(
        f"the best as a study: {how}{path}; run it with other seeds before you quote an accuracy",
        highlight=False,
    )


def _importances(tuner: Tuner) -> dict[str, dict[str, float]]:
    """Objective → dimension → importance for being among the best tenth of schedules (PED-ANOVA); sum 1.

    Empty with fewer than ten schedules or two dimensions.
    """
    importances: dict[str, dict[str, float]] = {}
    study, search = tuner.history.study, tuner.search
    complete = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    if len(complete) < _TENTH or len(search.dimensions) < 2:
        return importances
    for index, objective in enumerate(search.objectives):
        sign = -1.0 if OBJECTIVES[objective][1] else 1.0

        def loss(trial: FrozenTrial, index: int = index, sign: float = sign) -> float:
            value: float = trial.values[index]
            return sign * value

        with suppress(ValueError, RuntimeError):  # all schedules have one value
            importances[objective] = optuna.importance.get_param_importances(study, target=loss)
    return importances


def _described(candidate: Candidate) -> dict[str, Any]:
    """A schedule as the report reads it."""
    accuracies = {column: candidate.values(column) for column in ("val_accuracy", "test_accuracy")}
    network = {"density": candidate.mean("density"), "cost": candidate.mean("macs_masked")}
    return {"schedule": candidate.chosen, **accuracies, **network}


def _as_study(study: Study, best: Sequence[Candidate]) -> str:
    """The text of a study file of these schedules, each with all its seeds."""
    blocks = []
    for candidate in best:
        seeds = sorted(Trial.parse(row["config"]).config.seed for row in candidate.rows.values())
        config = candidate.trial(0).config
        values = {name: getattr(config, name) for name in FIELDS}
        changed = {name: value for name, value in values.items() if value != FIELDS[name].default}
        changed |= {
            name: study.parts[value].reference for name, value in changed.items() if value in study.parts
        }
        changed |= dict(config.parameters)
        # The default of `iterations` depends on the criterion: it is always written.
        blocks.append({**changed, "iterations": config.iterations, "seed": seeds})
    text = yaml.safe_dump({"name": f"{study.name}{BEST}", "blocks": blocks}, sort_keys=False)
    return f"# The best that the search {study.name} found.\n{text}"
