"""A network at a mask, as a criterion sees it: gradients and curvature without touching the model."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from pruners import relevance, tangent
from pruners.maps import Interpreter, Widened, in_mode, run, tensor, usable
from pruners.norms import squared_inputs
from pruners.samples import check_number, squared_gradients

Batch = tuple[Tensor, Tensor]
Loss = Callable[[Tensor, Tensor], Tensor]
Scores = dict[str, Tensor]
# One batch's contribution to a mean: parameter name -> sum, and over how many it is a sum.
Part = tuple[Iterable[Tensor], int]


class Drawn:
    """Scoring data, drawn when first needed and only once: all passes of one scoring see the same."""

    def __init__(self, source: Iterable[Batch]) -> None:
        self._source = source

    @cached_property
    def batches(self) -> list[Batch]:
        """The batches, in the order they came.

        Raises:
            ValueError: they are something else than pairs of inputs and targets, or one has no samples.
        """
        drawn = list(self._source)
        if not all(isinstance(pair, tuple | list) and len(pair) == 2 for pair in drawn):
            raise ValueError("batches is a list of pairs: give batches=[(inputs, targets)]")
        for number, pair in enumerate(drawn):
            for each in pair:
                if not isinstance(each, Tensor):
                    raise ValueError(f"batch {number} has a {type(each).__name__}: give tensors")
                if not each.numel():
                    raise ValueError(f"batch {number} has no samples: leave it out")
        return [(usable(inputs), usable(targets)) for inputs, targets in drawn]


class Probe:
    """A network at a mask; the model itself is never written to.

    Attributes:
        dense: parameter name → weights before any pruning, float32 or better.
        weights: the same with pruned entries at 0.
    """

    def __init__(
        self,
        model: nn.Module,
        dense: Mapping[str, Tensor],
        masks: Mapping[str, Tensor] | None,
        batches: "Drawn",
        loss: Loss,
        seed: int,
    ) -> None:
        self._model, self._drawn, self._loss, self._seed = model, batches, _single(loss), seed
        self._masks = masks
        first = next(iter(dense.values()))
        self._device, self._precision = first.device, first.dtype
        self.dense = {name: full_precision(usable(weight.detach())) for name, weight in dense.items()}
        self.weights = (
            self.dense
            if masks is None
            else {name: weight.masked_fill(~masks[name], 0) for name, weight in self.dense.items()}
        )
        self._known: dict[tuple[str, float, int], Scores] = {}

    @property
    def batches(self) -> list[Batch]:
        """The scoring data.

        Raises:
            ValueError: there are none.
        """
        if not self._drawn.batches:
            raise ValueError(
                "there are no batches to score with; an iterator is used up after one pass: give a list"
            )
        return self._drawn.batches

    @property
    def samples(self) -> int:
        """Number of samples in all batches."""
        return sum(len(targets) for _, targets in self.batches)

    def batch_size(self) -> int:
        """Samples in each batch.

        Raises:
            ValueError: the batches differ.
        """
        sizes = {len(targets) for _, targets in self.batches}
        if len(sizes) > 1:
            raise ValueError("per_sample=False needs batches of one size: the score depends on it")
        return sizes.pop()

    def uniform(self) -> Scores:
        """Draws from U(0, 1) by this probe's seed: the same on every device."""
        generator = torch.Generator().manual_seed(self._seed)
        return {
            name: torch.rand(weight.shape, generator=generator, device="cpu", dtype=torch.float32).to(
                weight.device
            )
            for name, weight in self.dense.items()
        }

    def gradient(self, temperature: float = 1) -> Scores:
        """E g: the gradient of the mean loss over all samples, the outputs divided by a temperature."""

        def part(leaves: Scores, inputs: Tensor, targets: Tensor) -> Part:
            total = self._mean_loss(leaves, inputs, targets, temperature) * len(targets)
            return _slopes(total, list(leaves.values())), len(targets)

        return self._once(("gradient", temperature, 0), lambda: self._mean(part))

    def fisher(self, per_sample: bool) -> Scores:
        """E g²: the mean square of the gradients of single samples, or of whole batches.

        That of single samples is the diagonal of the empirical Fisher matrix; their gradients are taken many
        at once.
        """

        def batch(leaves: Scores, inputs: Tensor, targets: Tensor) -> Part:
            mean_loss = self._mean_loss(leaves, inputs, targets, 1)
            return [g.square() for g in _slopes(mean_loss, list(leaves.values()))], 1

        def samples(leaves: Scores, inputs: Tensor, targets: Tensor) -> Part:
            squares = squared_gradients(self.forward, leaves, inputs, targets, self._loss)
            return squares.values(), len(targets)

        return self._once(("fisher", 0, per_sample), lambda: self._mean(samples if per_sample else batch))

    def hessian_product(self, vector: Scores, temperature: float) -> Scores:
        """H v, of the mean loss with the outputs divided by a temperature; v is held fixed.

        Pruned weights do not move: their v is 0.
        """
        vector = self._kept(vector)

        def part(leaves: Scores, inputs: Tensor, targets: Tensor) -> Part:
            total = self._mean_loss(leaves, inputs, targets, temperature) * len(targets)
            gradients = _slopes(total, list(leaves.values()), create_graph=True)
            slope = sum((vector[name] * g).sum() for name, g in zip(leaves, gradients, strict=True))
            assert isinstance(slope, Tensor)
            return _slopes(slope, list(leaves.values())), len(targets)

        return self._mean(part)

    def hessian_diagonal(self, probes: int, temperature: float) -> Scores:
        """Hutchinson's estimate E z ⊙ H z of the diagonal of H, with so many Rademacher z for each batch."""
        if probes < 1:
            raise ValueError(f"probes {probes}: at least 1")
        generator = torch.Generator().manual_seed(self._seed)

        def part(leaves: Scores, inputs: Tensor, targets: Tensor) -> Part:
            estimate = [torch.zeros_like(leaf) for leaf in leaves.values()]
            total = self._mean_loss(leaves, inputs, targets, temperature) * len(targets)
            gradients = _slopes(total, list(leaves.values()), create_graph=True)
            for _ in range(probes):
                signs = [
                    (2.0 * torch.randint(2, leaf.shape, generator=generator, device="cpu") - 1).to(leaf)
                    for leaf in leaves.values()
                ]
                # A slope along z, so that one more gives H z; 0 where a layer is not used.
                along = sum((z * g).sum() for z, g in zip(signs, gradients, strict=True))
                assert isinstance(along, Tensor)
                products = _slopes(along, list(leaves.values()), retain_graph=True)
                for mean, z, product in zip(estimate, signs, products, strict=True):
                    mean += z * product / probes
            return estimate, len(targets)

        return self._once(("diagonal", temperature, probes), lambda: self._mean(part))

    def absolute_flow(self) -> Scores:
        """∂R/∂|w| of R = Σ f(1; |w|): outputs summed, for inputs of ones and all parameters absolute.

        In float64: the products of a deep network leave the range of float32.
        """
        if not self._drawn.batches or not self._drawn.batches[0][0].is_floating_point():
            raise ValueError(
                "this score needs one batch of real-valued inputs, for their shape: "
                "give batches=[(inputs, targets)]"
            )
        inputs = torch.ones_like(self._drawn.batches[0][0][:1], dtype=torch.float64)
        leaves = {name: weight.double().abs().requires_grad_() for name, weight in self.weights.items()}
        flow = tensor(self.forward(leaves, inputs, lambda each: each.double().abs())).sum()
        return dict(zip(leaves, _slopes(flow, list(leaves.values())), strict=True))

    def unrolled(self, steps: int, rate: float) -> Scores:
        """∂L(θ_M)/∂m at m = 1: the loss after M steps of SGD, with m on the first weights.

        Parameters that do not require gradients, weights among them, stay: no training moves them. The steps
        go through the batches in order, and so does the loss after them, from the start again when they are
        used up.
        """
        seed_layers(self._device, self._seed)
        gates = {name: torch.ones_like(weight, requires_grad=True) for name, weight in self.weights.items()}
        state = {name: self.weights[name] * gate for name, gate in gates.items()}
        parameters = dict(self._model.named_parameters())
        for name, parameter in parameters.items():
            if name not in state:
                state[name] = full_precision(parameter.detach().clone()).requires_grad_()
        # What no optimizer moves in training stays here too.
        trained = [name for name in state if parameters[name].requires_grad]
        for step in range(steps if trained else 0):
            inputs, targets = self.batches[step % len(self.batches)]
            mean_loss = self._mean_loss(state, inputs, targets, 1)
            slopes = _slopes(mean_loss, [state[name] for name in trained], create_graph=True)
            moves = self._kept(dict(zip(trained, slopes, strict=True)))
            state |= {name: state[name] - rate * move for name, move in moves.items()}
        inputs, targets = self.batches[steps % len(self.batches)]
        final = self._mean_loss(state, inputs, targets, 1)
        return dict(zip(gates, _slopes(final, list(gates.values())), strict=True))

    def relevance(self, epsilon: float, alpha: float | None) -> Scores:
        """Mean relevance of each weight for the output of the true class: what it hands on to its inputs.

        By the ε rule, or by the αβ rule given alpha; see `pruners.relevance`.
        """

        def part(leaves: Scores, inputs: Tensor, targets: Tensor) -> Part:
            with Interpreter(relevance.rule(epsilon, alpha)):
                outputs = tensor(self.forward(leaves, inputs))
            if targets.shape != outputs.shape[:1] or targets.is_floating_point():
                raise ValueError(
                    "it needs the numbers of the true classes as targets, and an output for each class"
                )
            if not 0 <= targets.min() <= targets.max() < outputs.shape[1]:
                raise ValueError(
                    f"it needs targets from 0 to {outputs.shape[1] - 1}, an output's number each"
                )
            total = outputs.gather(1, targets.unsqueeze(1)).sum()
            slopes = _slopes(total, list(leaves.values()))
            return [leaf * slope for leaf, slope in zip(leaves.values(), slopes, strict=True)], len(targets)

        return self._mean(part)

    def input_norms(self) -> Scores:
        """‖x‖₂ of the inputs that each weight is multiplied with, over all samples and positions.

        Raises:
            ValueError: a weight is used in another way than in a linear map or convolution.
        """

        def part(leaves: Scores, inputs: Tensor, targets: Tensor) -> Part:
            return squared_inputs(self.forward, leaves, inputs).values(), len(targets)

        return {name: (self.samples * mean).sqrt() for name, mean in self._mean(part).items()}

    def tangent_kernel(self, epsilon: float, draws: int, redraw: bool) -> Scores:
        """∂/∂m Σ ‖f(x; m⊙w) − f(x; m⊙(w + εz))‖² over draws of inputs x and noise z from N(0, 1).

        BatchNorm uses the statistics of the unperturbed pass in both. `redraw` draws w too, from a normal
        distribution as wide as each layer's weights are.
        """
        generator = torch.Generator().manual_seed(self._seed)
        masks = self._masks or {name: torch.ones_like(weight) for name, weight in self.dense.items()}
        total = {name: torch.zeros_like(weight) for name, weight in self.dense.items()}
        seed_layers(self._device, self._seed)
        for inputs, _ in self.batches:
            for _ in range(draws):
                change = tangent.change(
                    self.forward, self.dense, masks, full_precision(inputs), generator, epsilon, redraw
                )
                for name, slope in change.items():
                    total[name] += slope
        return total

    def forward(
        self, leaves: Mapping[str, Tensor], inputs: Tensor, others: Callable[[Tensor], Tensor] | None = None
    ) -> Any:
        """Outputs with `leaves` in place of the parameters they name; `others` is done to the rest."""
        change = others or full_precision
        # Cloned: a BatchNorm in train mode writes its running statistics into the clones.
        rest = {
            name: change(each.detach().clone()) if each.is_floating_point() else each.detach().clone()
            for name, each in [*self._model.named_parameters(), *self._model.named_buffers()]
            if name not in leaves
        }
        own = next(iter(leaves.values())).dtype == self._precision
        with nullcontext() if own else Widened():
            output: Any = run(self._model, {**rest, **leaves}, full_precision(inputs))
        return output

    def _kept(self, values: Scores) -> Scores:
        """The values with those of pruned weights at 0."""
        masks = self._masks or {}
        return {n: v.masked_fill(~masks[n], 0) if n in masks else v for n, v in values.items()}

    def _once(self, key: tuple[str, float, int], compute: Callable[[], Scores]) -> Scores:
        """What several criteria of one probe need is computed for the first of them."""
        if key not in self._known:
            self._known[key] = compute()
        return self._known[key]

    def _mean_loss(
        self, leaves: Mapping[str, Tensor], inputs: Tensor, targets: Tensor, temperature: float
    ) -> Tensor:
        outputs = self.forward(leaves, inputs)
        loss = self._loss(outputs if temperature == 1 else tensor(outputs) / temperature, targets)
        check_number(outputs, loss)
        return loss

    def _mean(self, part: Callable[[Scores, Tensor, Tensor], Part]) -> Scores:
        """Parameter name → the sums of all batches' parts over their number."""
        leaves = {name: weight.detach().requires_grad_() for name, weight in self.weights.items()}
        total: list[Tensor] = []
        number = 0
        seed_layers(self._device, self._seed)
        for inputs, targets in self.batches:
            sums, count = part(leaves, inputs, targets)
            number += count
            total = [t + s for t, s in zip(total, sums, strict=True)] if total else list(sums)
        # One after another, so that no second copy of all is ever in memory.
        return {name: total.pop(0).detach() / number for name in leaves}


def _single(loss: Loss) -> Loss:
    """The loss, or a `ValueError` where it gives no single number."""

    def single(outputs: Tensor, targets: Tensor) -> Tensor:
        try:
            value = loss(outputs, targets)
        except (TypeError, AttributeError):
            tensor(outputs)  # what is no tensor is what such a loss cannot take
            raise
        if not isinstance(value, Tensor) or value.numel() != 1:
            given = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
            raise ValueError(f"the loss gives {given}: give one that is a mean, a tensor of one number")
        return value

    return single


def _slopes(
    output: Tensor, leaves: Sequence[Tensor], create_graph: bool = False, retain_graph: bool = False
) -> tuple[Tensor, ...]:
    """Gradients; 0 for what the output does not depend on, such as a layer that is not used."""
    return torch.autograd.grad(
        output,
        leaves,
        retain_graph=create_graph or retain_graph,
        create_graph=create_graph,
        allow_unused=True,
        materialize_grads=True,
    )


@contextmanager
def undisturbed(model: nn.Module, train_mode: bool, device: torch.device) -> Iterator[None]:
    """Modes, random state, autocast and kernels as scoring needs them; afterwards all as before."""
    cuda = device.type == "cuda"
    cudnn: Any = torch.backends.cudnn
    places = (torch.backends.cuda.matmul, cudnn.conv, cudnn.rnn)
    flags: list[tuple[Any, str, object]] = [(place, "fp32_precision", "ieee") for place in places]
    if any(isinstance(module, nn.RNNBase) for module in model.modules()):
        # cuDNN's recurrent kernels have no backward in eval mode, and no second one at all.
        flags.append((cudnn, "enabled", False))
    before = [(place, name, getattr(place, name)) for place, name, _ in flags]
    with (
        in_mode(model, train_mode),
        # Seeding reaches every GPU, so all are put back.
        torch.random.fork_rng(range(torch.cuda.device_count()) if cuda else ()),
        torch.inference_mode(False),
        torch.enable_grad(),
        torch.autocast(device.type, enabled=False),
        # The fused attention kernels have no second derivative.
        torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH),
    ):
        try:
            for place, name, value in flags:
                setattr(place, name, value)
            yield
        finally:
            for place, name, value in before:
                setattr(place, name, value)


def seed_layers(device: torch.device, seed: int) -> None:
    """Seed what layers such as dropout draw from; a model on the CPU leaves the GPUs alone.

    Every pass over the data is seeded anew, so that a score is the same whatever was computed before it.
    """
    (torch.manual_seed if device.type == "cuda" else torch.default_generator.manual_seed)(seed)


def full_precision(values: Tensor) -> Tensor:
    """The tensor in float32 if it is in half precision; as it is otherwise."""
    return values.float() if values.is_floating_point() and values.element_size() < 4 else values
