"""Criteria: how much each weight matters. One small function a criterion; a higher score means keep.

A criterion sees the network through a `Probe`, which evaluates it at any mask without touching the model.
To add one, write a function `Probe -> Scores` under `@criterion(...)`; everything else lists it by itself.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor, nn
from torch.func import functional_call

Batch = tuple[Tensor, Tensor]
Loss = Callable[[Tensor, Tensor], Tensor]
Scores = dict[str, Tensor]


@dataclass(frozen=True)
class Criterion:
    """A saliency criterion and what it needs.

    Attributes:
        needs_data: its score depends on training batches.
        train_mode: BatchNorm uses the batch's statistics while scoring (else the running ones).
        iterations: pruning iterations unless told otherwise; 1 is one-shot.
        revives: each iteration ranks all weights anew, so that a pruned weight can come back.
    """

    name: str
    score: Callable[..., Scores]
    source: str
    equation: str
    needs_data: bool = True
    train_mode: bool = True
    iterations: int = 1
    revives: bool = False


CRITERIA: dict[str, Criterion] = {}


def criterion(
    name: str,
    *,
    source: str,
    equation: str,
    needs_data: bool = True,
    train_mode: bool = True,
    iterations: int = 1,
    revives: bool = False,
) -> Callable[[Callable[..., Scores]], Callable[..., Scores]]:
    """Enter a scoring function in the table of criteria; one function can serve several names."""

    def enter(score: Callable[..., Scores]) -> Callable[..., Scores]:
        CRITERIA[name] = Criterion(name, score, source, equation, needs_data, train_mode, iterations, revives)
        return score

    return enter


class Probe:
    """A network at a mask, as a criterion sees it; the model itself is never written to.

    Attributes:
        dense: parameter name → weights before any pruning, float32 or better.
        weights: the same with pruned entries at 0.
    """

    def __init__(
        self,
        model: nn.Module,
        dense: Mapping[str, Tensor],
        masks: Mapping[str, Tensor] | None,
        batches: Iterable[Batch],
        loss: Loss,
        seed: int,
    ) -> None:
        self._model, self._batches, self._loss, self._seed = model, batches, loss, seed
        self.dense = {name: _full_precision(weight.detach()) for name, weight in dense.items()}
        self.weights = (
            self.dense
            if masks is None
            else {name: weight.masked_fill(~masks[name], 0) for name, weight in self.dense.items()}
        )

    def uniform(self) -> Scores:
        """Draws from U(0, 1) by this probe's seed: the same on every device."""
        generator = torch.Generator().manual_seed(self._seed)
        return {
            name: torch.rand(weight.shape, generator=generator).to(weight.device)
            for name, weight in self.dense.items()
        }

    @cached_property
    def gradient(self) -> Scores:
        """E g: the gradient of the mean loss over all samples of the batches, at `weights`."""
        leaves = {name: weight.clone().requires_grad_() for name, weight in self.weights.items()}
        total = {name: torch.zeros_like(weight) for name, weight in leaves.items()}
        samples = 0
        for inputs, targets in self._batches:
            batch_loss = self._loss(self._forward(leaves, inputs), targets) * len(targets)
            for name, part in zip(
                leaves, torch.autograd.grad(batch_loss, list(leaves.values())), strict=True
            ):
                total[name] += part
            samples += len(targets)
        if not samples:
            raise ValueError(
                "there are no batches to score with; an iterator is used up after one pass: give a list"
            )
        return {name: part / samples for name, part in total.items()}

    def _forward(self, leaves: Mapping[str, Tensor], inputs: Tensor) -> Tensor:
        # Buffers are cloned: a BatchNorm in train mode writes its running statistics into the clones.
        others = {
            name: _full_precision(tensor.detach().clone())
            for name, tensor in [*self._model.named_parameters(), *self._model.named_buffers()]
            if name not in leaves
        }
        output: Tensor = functional_call(self._model, {**others, **leaves}, (_full_precision(inputs),))
        return output


@criterion("random", source="baseline", equation="u ~ U(0, 1)", needs_data=False)
def random(probe: Probe) -> Scores:
    """A seeded draw; with scope `erk` the strong baseline of Liu et al. 2022."""
    return probe.uniform()


@criterion("magnitude", source="Han et al. 2015", equation="|w|", needs_data=False)
def magnitude(probe: Probe) -> Scores:
    """Size of the weight."""
    return {name: weight.abs() for name, weight in probe.weights.items()}


@criterion("snip", source="Lee et al. 2019, eq. 4-6", equation="|w ⊙ E g|")
@criterion("iter-snip", source="de Jorge et al. 2021, eq. 6", equation="|w ⊙ E g| at w ⊙ m", iterations=60)
def snip(probe: Probe) -> Scores:
    """Connection sensitivity. The paper divides by the sum over all weights, which ranks the same."""
    return {name: (weight * probe.gradient[name]).abs() for name, weight in probe.weights.items()}


@criterion(
    "force",
    source="de Jorge et al. 2021, eq. 7",
    equation="|w₀ ⊙ E g| with g at w₀ ⊙ m",
    iterations=60,
    revives=True,
)
def force(probe: Probe) -> Scores:
    """Foresight connection sensitivity: the pruned network's gradient on the dense weights."""
    return {name: (weight * probe.gradient[name]).abs() for name, weight in probe.dense.items()}


def score(
    chosen: Criterion,
    model: nn.Module,
    weights: Mapping[str, nn.Parameter],
    masks: Mapping[str, Tensor] | None,
    batches: Iterable[Batch],
    loss: Loss,
    seed: int,
    **options: object,
) -> Scores:
    """Scores of `weights` at `masks` (None: dense), checked to be finite."""
    device = next(iter(weights.values())).device
    with _undisturbed(model, chosen.train_mode, seed, device):
        scores = chosen.score(Probe(model, weights, masks, batches, loss, seed), **options)
    for name, values in scores.items():
        if not values.isfinite().all():
            raise ValueError(
                f"{chosen.name} gives NaN or infinite scores in layer {name}: check the loss and the weights"
            )
    return scores


@contextmanager
def _undisturbed(model: nn.Module, train_mode: bool, seed: int, device: torch.device) -> Iterator[None]:
    """Modes, random state and autocast as scoring needs them; afterwards all as before."""
    modes = {module: module.training for module in model.modules()}
    # Seeding reaches every GPU, so all are put back.
    devices = range(torch.cuda.device_count()) if device.type == "cuda" else ()
    with (
        torch.random.fork_rng(devices),
        torch.inference_mode(False),
        torch.enable_grad(),
        torch.autocast(device.type, enabled=False),
    ):
        torch.manual_seed(seed)  # for layers that draw, such as dropout
        try:
            model.train(train_mode)
            yield
        finally:
            for module, training in modes.items():
                module.training = training


def _full_precision(tensor: Tensor) -> Tensor:
    """The tensor in float32 if it is in half precision; as it is otherwise."""
    return tensor.float() if tensor.is_floating_point() and tensor.element_size() < 4 else tensor
