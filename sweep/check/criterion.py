"""A criterion tried on two small networks: is it repeatable and harmless, and which criteria is it like?"""

import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from scipy.stats import spearmanr
from torch import Tensor, nn

import pruners
from pruners.own import Own, place
from sweep import models
from sweep.check.report import Grid, Report
from sweep.check.running import check_parameters, digest, equal, fault
from sweep.errors import BadInput
from sweep.trial.run import one_thread

# Model → image shape: a convolutional network with BatchNorm, and one of linear layers.
_NETWORKS = {"conv-5": (1, 12, 12), "lenet-300-100": (1, 8, 8)}
_CLASSES = 10
_SPARSITIES = (0.5, 0.9, 0.98)
# Runs that are timed; the fastest counts.
_RUNS = 3


@dataclass(frozen=True)
class _Bench:
    """A network and its batches, on which a criterion is tried.

    Attributes:
        parameters: keyword parameters of the criterion.
        seed: of what the criterion draws.
    """

    name: str
    model: nn.Module
    batches: list[tuple[Tensor, Tensor]]
    criterion: pruners.Criterion
    parameters: Mapping[str, Any]
    seed: int

    def scores(self) -> dict[str, Tensor]:
        """The criterion's scores of the unpruned network."""
        return pruners.saliency(self.criterion, self.model, self.batches, seed=self.seed, **self.parameters)


def check_criterion(
    criterion: Callable[..., Any] | pruners.Criterion,
    *,
    parameters: Mapping[str, Any] | None = None,
    seed: int = 0,
) -> Report:
    """Try a criterion on small networks of `sweep.models` with fixed data, on the CPU.

    Args:
        criterion: a function of one's own, or a criterion.
        parameters: keyword parameters of the criterion.
        seed: of what the criterion draws.

    Raises:
        BadInput: the function has not the form of a criterion, or not these parameters.
    """
    columns: dict[str, dict[str, float]] = {}
    with one_thread():
        benches = _benches(criterion, parameters or {}, seed)
        function = _function(benches[0].criterion)
        report = Report(f"criterion {place(function)}")
        for bench in benches:
            trying = "runs"
            try:
                scores = bench.scores()
                total = sum(each.numel() for each in scores.values())
                report.tell(f"{bench.name}: runs", True, f"scores of {total:,} weights, all finite")
                trying = "runs again, and at masks"
                _try_again(report, bench, scores)
                _try_scopes(report, bench, scores)
                _try_pruned(report, bench, total)
                _tell_ties(report, bench, scores)
                _tell_time(report, bench)
            except (Exception, SystemExit) as error:
                report.tell(f"{bench.name}: {trying}", False, fault(error, place(function)))
                continue
            columns[bench.name] = _correlations(bench, scores)
    if columns:
        report.grids.append(_grid(columns))
    return report


def criterion_digest(
    criterion: Callable[..., Any] | pruners.Criterion,
    *,
    parameters: Mapping[str, Any] | None = None,
    seed: int = 0,
) -> str:
    """A digest of the scores that `check_criterion` looks at, for a comparison with another process."""
    with one_thread():
        scores = [bench.scores() for bench in _benches(criterion, parameters or {}, seed)]
    return digest(tensor for each in scores for tensor in each.values())


def _benches(
    criterion: Callable[..., Any] | pruners.Criterion, parameters: Mapping[str, Any], seed: int
) -> list[_Bench]:
    """The networks, each with two batches of noise around a mean image for each class.

    Raises:
        BadInput: the function has not the form of a criterion, or not these parameters.
    """
    try:
        chosen = pruners.find(criterion)
    except ValueError as error:
        raise BadInput(str(error)) from None
    own = chosen.score
    check_parameters(_function(chosen), len(own.inputs) if isinstance(own, Own) else 1, parameters)
    benches = []
    for name, shape in _NETWORKS.items():
        generator = torch.Generator().manual_seed(0)
        means = torch.randn(_CLASSES, *shape, generator=generator)
        targets = torch.arange(64) % _CLASSES
        inputs = means[targets] + torch.randn(64, *shape, generator=generator)
        batches = list(zip(inputs.split(32), targets.split(32), strict=True))
        model = models.build(name, shape, _CLASSES, seed=0)
        benches.append(_Bench(name, model, batches, chosen, parameters, seed))
    return benches


def _function(criterion: pruners.Criterion) -> Callable[..., Any]:
    return criterion.score.function if isinstance(criterion.score, Own) else criterion.score


def _try_again(report: Report, bench: _Bench, scores: dict[str, Tensor]) -> None:
    """Score once more after other random draws: are the scores equal, and is all as it was before?"""
    for parameter in bench.model.parameters():
        parameter.grad = torch.ones_like(parameter)
    torch.rand(1), np.random.rand(1), random.random()
    before = _state(bench)
    same = equal(scores, bench.scores())
    after = _state(bench)
    bench.model.zero_grad()
    report.tell(
        f"{bench.name}: equal scores for equal seeds",
        same,
        "" if same else "expected equal bits: take random numbers from torch alone, or seed them",
    )
    changed = [name for name, value in before.items() if after[name] != value]
    report.tell(
        f"{bench.name}: leaves all as it was",
        not changed,
        f"changed: {', '.join(changed)}" if changed else "network, batches, random numbers, torch's settings",
    )


def _state(bench: _Bench) -> dict[str, object]:
    """Name → value of all that a criterion could change."""
    model = bench.model
    grads = [weight.grad for weight in model.parameters() if weight.grad is not None]
    return {
        "weights": digest(model.parameters()),
        "buffers": digest(model.buffers()),
        "gradients": digest(grads),
        "batches": digest(tensor for batch in bench.batches for tensor in batch),
        "requires_grad": [weight.requires_grad for weight in model.parameters()],
        "modes": [module.training for module in model.modules()],
        "hooks": [
            len(module._forward_hooks) + len(module._forward_pre_hooks) + len(module._backward_hooks)
            for module in model.modules()
        ],
        "torch's random state": digest([torch.get_rng_state()]),
        "NumPy's random state": repr(np.random.get_state()),
        "Python's random state": random.getstate(),
        "torch's settings": (
            torch.get_default_dtype(),
            torch.get_num_threads(),
            torch.is_grad_enabled(),
            torch.are_deterministic_algorithms_enabled(),
        ),
    }


def _try_scopes(report: Report, bench: _Bench, scores: dict[str, Tensor]) -> None:
    """Are the exact numbers of weights kept under each scope at each sparsity?"""
    total = _numbers(scores).numel()
    wrong, impossible = [], []
    for scope in pruners.SCOPES:
        for sparsity in _SPARSITIES:
            at = f"{scope} at {sparsity}"
            steps = pruners.trajectory(
                bench.criterion,
                bench.model,
                bench.batches,
                sparsity=sparsity,
                scope=scope,
                iterations=1,
                first=scores,
                **bench.parameters,
            )
            try:
                masks = next(steps).masks
            except ValueError:  # a scope can need more weights than the sparsity leaves
                impossible.append(at)
                continue
            kept = sum(int(mask.sum()) for mask in masks.values())
            if kept != (expected := pruners.kept_count(total, sparsity)):
                wrong.append(f"{at}: {kept}, expected {expected}")
    tried = f"{', '.join(pruners.SCOPES)} at sparsities {', '.join(map(str, _SPARSITIES))}"
    tried += f"; impossible here: {', '.join(impossible)}" if impossible else ""
    report.tell(f"{bench.name}: exact counts under each scope", not wrong, "; ".join(wrong) or tried)


def _try_pruned(report: Report, bench: _Bench, total: int) -> None:
    """Does the criterion score pruned networks, as every iteration but the first asks of it?"""
    masks = pruners.prune(
        bench.criterion,
        bench.model,
        bench.batches,
        sparsity=0.9,
        iterations=3,
        seed=bench.seed,
        **bench.parameters,
    )
    kept, expected = sum(int(mask.sum()) for mask in masks.values()), pruners.kept_count(total, 0.9)
    report.tell(
        f"{bench.name}: prunes in 3 iterations", kept == expected, f"{kept:,} of {total:,} weights kept"
    )


def _tell_ties(report: Report, bench: _Bench, scores: dict[str, Tensor]) -> None:
    values = _numbers(scores)
    _, counts = values.unique(return_counts=True)
    tied = int(counts[counts > 1].sum()) / len(values)
    zeros = int((values == 0).sum()) / len(values)
    alike = len(counts) == 1
    report.tell(
        f"{bench.name}: equal scores",
        False if alike else None,
        "all scores are equal, so the order of the weights alone decides: expected a difference"
        if alike
        else f"{tied:.2%} of the weights have the score of another, {zeros:.2%} the score 0",
    )


def _tell_time(report: Report, bench: _Bench) -> None:
    own, snip = _seconds(bench.scores), _seconds(lambda: pruners.saliency("snip", bench.model, bench.batches))
    report.tell(
        f"{bench.name}: time", None, f"{own:.2g} s an iteration, SNIP {snip:.2g} s: {own / snip:.2f} times"
    )


def _seconds(run: Callable[[], object]) -> float:
    times = []
    for _ in range(_RUNS):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return min(times)


def _correlations(bench: _Bench, scores: dict[str, Tensor]) -> dict[str, float]:
    """Name of each built-in criterion → its Spearman rank correlation with the scores; NaN: it has none."""
    own = _numbers(scores)
    names = [name for name in pruners.names() if not isinstance(pruners.find(name).score, Own)]
    found = {}
    for name, others in pruners.saliencies(names, bench.model, bench.batches).items():
        other = _numbers(others)
        constant = other.min() == other.max() or own.min() == own.max()
        found[name] = float("nan") if constant else float(spearmanr(own, other).statistic)
    return found


def _grid(columns: Mapping[str, Mapping[str, float]]) -> Grid:
    """The correlations, the most similar criterion first; a column for each network."""
    first = next(iter(columns.values()))
    order = sorted(first, key=lambda name: -sum(abs(np.nan_to_num(each[name])) for each in columns.values()))
    rows = tuple((name, *(f"{each[name]:+.3f}" for each in columns.values())) for name in order)
    return Grid(("rank correlation with", *columns), rows)


def _numbers(scores: Mapping[str, Tensor]) -> Tensor:
    return torch.cat([each.flatten().double() for each in scores.values()])
