"""Search against the grid it is drawn from and against random choice, on digits at 99 % sparsity.

The grid is run once, as any sweep; the searches then look up what a trial gives, as they do with all that is known.
"""

import subprocess
import sys
import tempfile
from collections import deque
from collections.abc import Mapping
from pathlib import Path
from statistics import fmean

import optuna

from sweep.search.history import History
from sweep.search.samplers import SAMPLERS
from sweep.search.tuner import Tuner
from sweep.store import results
from sweep.study import load
from sweep.study.identity import Trial
from sweep.study.space import Search
from sweep.trial import Result

_GRID = """\
name: grid
dataset: digits
model: conv-5
epochs: 3
batch_size: 64
sparsity: 0.99
criterion: [random, magnitude, grad-norm, snip, synflow]
scope: [global, erk, uniform]
prune_epoch: [0, 0.5, 1, 1.5]
lr: [0.125, 0.25, 0.375, 0.5]
lr_schedule: [cosine, one-cycle]
"""
_SEARCH = """\
dataset: digits
model: conv-5
epochs: 3
batch_size: 64
sparsity: 0.99
search:
  trials: 120
  seeds: 1
  space:
    criterion: [random, magnitude, grad-norm, snip, synflow]
    scope: [global, erk, uniform]
    prune_epoch: {low: 0, high: 1.5, step: 0.5}
    lr: {low: 0.125, high: 0.5, step: 0.125}
    lr_schedule: [cosine, one-cycle]
"""
_REPETITIONS, _WORKERS = 10, 2


def measured(folder: Path) -> Mapping[str, results.Row]:
    """The grid's results, of real trials."""
    folder.mkdir()
    path = folder.parent / "grid.yaml"
    path.write_text(_GRID)
    command = [sys.executable, "-m", "sweep.launch", str(path), "--results", str(folder)]
    subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
    return results.measured(folder)


def best(search: Search, table: Mapping[str, results.Row], sampler: str, seed: int) -> tuple[float, int]:
    """Validation accuracy of what a search finds, and the trials it ran."""
    study = optuna.create_study(direction="maximize", sampler=SAMPLERS[sampler](search, seed))
    tuner = Tuner(search, History(search, study, {}))
    out: deque[Trial] = deque()
    while True:
        while len(out) < _WORKERS and (pack := tuner.ask()):
            out += [job.trial for job in pack.jobs]
        if not out:
            return tuner.best()[0].mean("val_accuracy"), tuner.ran
        tuner.tell(Result(table[out.popleft().id]))


def main() -> None:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    with tempfile.TemporaryDirectory() as folder:
        table = measured(Path(folder) / "results")
        path = Path(folder) / "search.yaml"
        path.write_text(_SEARCH)
        search = load(path).search
    top = max(row["val_accuracy"] or 0.0 for row in table.values())
    found = {
        sampler: [best(search, table, sampler, seed) for seed in range(_REPETITIONS)]
        for sampler in ("tpe", "random")
    }
    means = {sampler: fmean(accuracy for accuracy, _ in each) for sampler, each in found.items()}
    as_good = {sampler: sum(accuracy >= top for accuracy, _ in each) for sampler, each in found.items()}
    print(
        f"search, {max(ran for _, ran in found['tpe'])} of the {len(table)} trials of a grid: as good as its best "
        f"({top:.4f}) {as_good['tpe']} times of {_REPETITIONS}, random choice {as_good['random']}; mean of what "
        f"they find {means['tpe']:.4f}, random {means['random']:.4f}"
    )


if __name__ == "__main__":
    main()
