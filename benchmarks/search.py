"""Search against the grid it is drawn from and against random choice, on digits at 99 % sparsity.

Every trial of the grid is run once; the searches then look their results up, as they do for all that is known.
"""

import tempfile
from collections import deque
from pathlib import Path
from statistics import fmean

import optuna

from benchmarks.sharing import shared
from sweep.asker import Asker
from sweep.config import Trial
from sweep.samplers import SAMPLERS
from sweep.study import load
from sweep.trial import Result

_STUDY = """\
dataset: digits
model: conv-5
epochs: 3
batch_size: 64
sparsity: 0.99
search:
  trials: {budget}
  seeds: 1
  space:
    criterion: [random, magnitude, grad-norm, snip, synflow]
    scope: [global, erk, uniform]
    prune_epoch: [0, 0.5, 1, 1.5]
    lr: [0.05, 0.1, 0.2, 0.4]
    lr_schedule: [cosine, one-cycle]
"""
_BUDGET, _REPETITIONS = 120, 10


def best(search, table: dict[str, Result], sampler: str, seed: int) -> float:
    """Validation accuracy of what a search finds."""
    study = optuna.create_study(direction="maximize", sampler=SAMPLERS[sampler](search, seed))
    asker = Asker(search, study, {})
    out: deque[Trial] = deque()
    while True:
        while len(out) < 2 and (pack := asker.next()):
            out += [job.trial for job in pack.jobs]
        if not out:
            return asker.best()[0].mean("val_accuracy")
        asker.found(table[out.popleft().id])


def main() -> None:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "grid.yaml"
        path.write_text(_STUDY.format(budget=10**6))
        every = Asker(
            load(path).search, optuna.create_study(sampler=SAMPLERS["grid"](load(path).search, 0)), {}
        )
        grid = {}
        while pack := every.next():
            grid |= {job.trial: None for job in pack.jobs}
        table = shared(list(grid))
        path.write_text(_STUDY.format(budget=_BUDGET))
        search = load(path).search
    top = max(result.trial["val_accuracy"] or 0.0 for result in table.values())
    found = {
        sampler: [best(search, table, sampler, seed) for seed in range(_REPETITIONS)]
        for sampler in ("tpe", "random")
    }
    as_good = sum(value >= top for value in found["tpe"])
    print(
        f"search, {_BUDGET} of the {len(table)} trials of a grid, {_REPETITIONS} times: finds what is as good as the "
        f"grid's best ({top:.3f}) {as_good} times; mean of the best {fmean(found['tpe']):.4f}, of random choice "
        f"{fmean(found['random']):.4f}"
    )


if __name__ == "__main__":
    main()
