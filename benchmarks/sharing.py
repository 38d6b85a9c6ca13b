"""What sharing saves: the same trials each on its own and by the plan, in one process, with equal results."""

import itertools
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from sweep import plan
from sweep.config import Config
from sweep.store.states import Store
from sweep.study.identity import Trial
from sweep.trial import Result, run
from sweep.trial.prefixes import Shared

_TIMES = ("seconds", "started_at", "finished_at", "trained_steps")


def grid(criteria, sparsities, iterations, prune_epochs, seeds, **fields) -> list[Config]:
    return [
        Config(
            dataset="digits",
            criterion=c,
            sparsity=s,
            iterations=i,
            prune_epoch=t,
            seed=seed,
            lr=0.2,
            **fields,
        )
        for seed in range(seeds)
        for c, s, i, t in itertools.product(criteria, sparsities, iterations, prune_epochs)
    ]


def numbers(result: Result) -> str:
    rows = (result.trial, *result.curves, *result.layers)
    return repr([{k: v for k, v in row.items() if not k.endswith(_TIMES)} for row in rows])


def timed(work: Callable[[], dict[str, Result]]) -> tuple[dict[str, Result], float]:
    started = time.perf_counter()
    return work(), time.perf_counter() - started


def shared(trials: Sequence[Trial]) -> dict[str, Result]:
    scores = {}
    with tempfile.TemporaryDirectory() as folder:
        return {
            job.trial.id: run(job.trial, shared=Shared(Store(Path(folder)), job.path, job.saves, scores))
            for pack in plan.packs(trials, 1)
            for job in pack.jobs
        }


def compare(name: str, configs: Sequence[Config], each: Sequence[Trial]) -> None:
    """Print what was promised and what came of it.

    Args:
        each: the trials that are run on their own, some of them perhaps more than once.
    """
    trials = list(dict.fromkeys(map(Trial.of, configs)))
    chains = plan.share(trials)
    epoch = 1437 * 9 // 10 // configs[0].batch_size
    promised = plan.work(chains, lambda config: epoch)
    asked = sum(plan.training_steps(trial.config, epoch) for trial in each)
    run(trials[0])
    alone, apart = timed(lambda: {trial.id: run(trial) for trial in each})
    together, took = timed(lambda: shared(trials))
    assert {k: numbers(r) for k, r in together.items()} == {t.id: numbers(alone[t.id]) for t in trials}
    trained = sum(result.trial["trained_steps"] for result in together.values())
    assert trained == promised.shared
    print(
        f"sharing, {name}: {len(each)} trials, {asked // epoch} epochs asked for; {len(trials)} distinct, "
        f"{trained / epoch:g} epochs trained as planned, every number equal; {asked / trained:.2f} times less "
        f"training promised, {apart:.0f} s against {took:.0f} s: {apart / took:.2f} times faster "
        f"({apart / took / (asked / trained):.0%} of it)"
    )


def main() -> None:
    tiny = grid(("magnitude", "force"), (0, 0.9, 0.99), (1, 10), (0, 1, 2, 4), 2, model="conv-5", epochs=8)
    compare("the tiny grid", tiny, [Trial.of(config) for config in tiny])
    five = ("random", "magnitude", "grad-norm", "snip", "synflow")
    late = grid(
        five, (0.5, 0.8, 0.9, 0.95, 0.98, 0.99), (1,), (0, 1, 2, 4, 8), 2, model="lenet-300-100", epochs=20
    )
    compare("prune epochs 0, 1, 2, 4, 8 of 20", late, list(dict.fromkeys(map(Trial.of, late))))


if __name__ == "__main__":
    main()
