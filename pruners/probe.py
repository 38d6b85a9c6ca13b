"""A network at a mask, as criteria see it: gradients and curvature, without changing the model."""

from collections.abc import Callable, Iterable, Mapping
from contextlib import nullcontext
from functools import cached_property, partial
from typing import Any

import torch
from torch import Tensor, nn

from pruners import columns, flow, relevance, residual, tangent
from pruners.batches import Batch, Loss, ScoringBatches
from pruners.context import seed_layers
from pruners.forward import HighestPrecision, differentiable, full_precision, run, single_tensor
from pruners.gradients import check_number, of_one_number, slopes
from pruners.norms import spread_ratios, squared_inputs
from pruners.samples import squared_gradients

Scores = dict[str, Tensor]
# One batch's contribution to a mean: a sum for each parameter, and the number of terms in it.
Part = tuple[Iterable[Tensor], int]


class Probe:
    """A network at a mask; the model itself is never changed.

    Scores are dictionaries of parameter name → tensor of the parameter's shape.

    Attributes:
        dense: parameter name → unpruned weights, in float32 or higher precision.
        weights: parameter name → the same weights with pruned entries at 0.
    """

    def __init__(
        self,
        model: nn.Module,
        dense: Mapping[str, Tensor],
        masks: Mapping[str, Tensor] | None,
        batches: ScoringBatches,
        *,
        loss: Loss,
        seed: int,
    ) -> None:
        self._model, self._batches, self._loss, self._seed = model, batches, of_one_number(loss), seed
        self._masks, self._given = masks, dense
        first = next(iter(dense.values()))
        self._device, self._precision = first.device, first.dtype
        self.dense = {name: full_precision(differentiable(weight.detach())) for name, weight in dense.items()}
        self.weights = self.dense if masks is None else self._masked(self.dense)
        self._computed: dict[tuple[str, float, int], Scores] = {}

    @property
    def batches(self) -> list[Batch]:
        """The scoring data; `ValueError` if there is none."""
        return self._batches.required()

    @cached_property
    def general(self) -> "Probe":
        """The same network with the batches of general data; without such batches, with these."""
        others = self._batches.general
        return Probe(self._model, self._given, self._masks, others, loss=self._loss, seed=self._seed)

    @property
    def samples(self) -> int:
        """Number of samples in all batches."""
        return sum(len(targets) for _, targets in self.batches)

    def batch_size(self) -> int:
        """Samples in each batch; `ValueError` if the batches differ in size."""
        sizes = {len(targets) for _, targets in self.batches}
        if len(sizes) > 1:
            raise ValueError("per_sample=False needs batches of one size: the score depends on it")
        return sizes.pop()

    def uniform(self) -> Scores:
        """Draws from U(0, 1) with the seed of this probe; equal on every device."""
        generator = torch.Generator().manual_seed(self._seed)
        options: Any = {"generator": generator, "device": "cpu", "dtype": torch.float32}
        return {
            name: torch.rand(weight.shape, **options).to(weight.device) for name, weight in self.dense.items()
        }

    def gradient(self, temperature: float = 1) -> Scores:
        """E g: the gradient of the mean loss over all samples, with the outputs divided by a temperature."""

        def part(leaves: Scores, inputs: Tensor, targets: Tensor) -> Part:
            total = self._mean_loss(leaves, inputs, targets, temperature) * len(targets)
            return slopes(total, list(leaves.values())), len(targets)

        return self._once(("gradient", temperature, 0), lambda: self._mean(part))

    def fisher(self, per_sample: bool) -> Scores:
        """E g²: the mean square of the gradients of single samples, or else of batches.

        For single samples this is the diagonal of the empirical Fisher matrix.
        """

        def batch(leaves: Scores, inputs: Tensor, targets: Tensor) -> Part:
            mean_loss = self._mean_loss(leaves, inputs, targets, 1)
            return [g.square() for g in slopes(mean_loss, list(leaves.values()))], 1

        def samples(leaves: Scores, inputs: Tensor, targets: Tensor) -> Part:
            squares = squared_gradients(self.forward, leaves, inputs, targets, self._loss)
            return squares.values(), len(targets)

        return self._once(("fisher", 0, per_sample), lambda: self._mean(samples if per_sample else batch))

    def hessian_product(self, vector: Scores, temperature: float) -> Scores:
        """H v, H the Hessian of the mean loss with the outputs divided by a temperature; v is constant.

        Pruned weights do not move: their entries in v are set to 0.
        """
        vector = self._masked(vector)

        def part(leaves: Scores, inputs: Tensor, targets: Tensor) -> Part:
            total = self._mean_loss(leaves, inputs, targets, temperature) * len(targets)
            gradients = slopes(total, list(leaves.values()), create_graph=True)
            slope = sum((vector[name] * g).sum() for name, g in zip(leaves, gradients, strict=True))
            assert isinstance(slope, Tensor)
            return slopes(slope, list(leaves.values())), len(targets)

        return self._mean(part)

    def hessian_diagonal(self, probes: int, temperature: float) -> Scores:
        """Hutchinson's estimate E z ⊙ H z of the diagonal of H.

        Args:
            probes: number of Rademacher vectors z drawn for each batch.

        Raises:
            ValueError: `probes` is below 1.
        """
        if probes < 1:
            raise ValueError(f"probes {probes}: at least 1")
        generator = torch.Generator().manual_seed(self._seed)

        def part(leaves: Scores, inputs: Tensor, targets: Tensor) -> Part:
            estimate = [torch.zeros_like(leaf) for leaf in leaves.values()]
            total = self._mean_loss(leaves, inputs, targets, temperature) * len(targets)
            gradients = slopes(total, list(leaves.values()), create_graph=True)
            for _ in range(probes):
                signs = [
                    (2.0 * torch.randint(2, leaf.shape, generator=generator, device="cpu") - 1).to(leaf)
                    for leaf in leaves.values()
                ]
                # The gradient of the slope along z is H z; 0 for a layer that is not used.
                along = sum((z * g).sum() for z, g in zip(signs, gradients, strict=True))
                assert isinstance(along, Tensor)
                products = slopes(along, list(leaves.values()), retain_graph=True)
                for mean, z, product in zip(estimate, signs, products, strict=True):
                    mean += z * product / probes
            return estimate, len(targets)

        return self._once(("diagonal", temperature, probes), lambda: self._mean(part))

    def absolute_flow(self, power: int = 1) -> Scores:
        """∂R/∂|w|ᵖ with R = Σ f(1; |w|ᵖ): the summed outputs for inputs of 1; see `pruners.flow`.

        Raises:
            ValueError: there is no batch, or its inputs are not real-valued.
        """
        return flow.synaptic(self.forward, self.weights, self._batches.drawn, power)

    def activated_flow(self) -> Scores:
        """∂R/∂w², R the flow along the paths that the inputs activate: a mean over the samples."""

        def part(leaves: Scores, inputs: Tensor, targets: Tensor) -> Part:
            return flow.activated(self.forward, leaves, inputs).values(), len(targets)

        return self._mean(part)

    def unrolled(self, steps: int, rate: float) -> Scores:
        """∂L(θ_M)/∂m at m = 1, θ_M the weights after M = `steps` steps of SGD that start at m ⊙ w.

        Each step, and the loss after the last, uses the next batch; after the last batch comes the first. A
        parameter that does not require gradients stays as it is.

        Args:
            rate: the learning rate of SGD.
        """
        seed_layers(self._device, self._seed)
        gates = {name: torch.ones_like(weight, requires_grad=True) for name, weight in self.weights.items()}
        state = {name: self.weights[name] * gate for name, gate in gates.items()}
        parameters = dict(self._model.named_parameters())
        others = {name: each for name, each in parameters.items() if name not in state}
        state |= {n: full_precision(each.detach().clone()).requires_grad_() for n, each in others.items()}
        # A parameter that does not require gradients is not trained, and so not moved here either.
        trained = [name for name in state if parameters[name].requires_grad]
        for step in range(steps if trained else 0):
            inputs, targets = self.batches[step % len(self.batches)]
            mean_loss = self._mean_loss(state, inputs, targets, 1)
            gradients = slopes(mean_loss, [state[name] for name in trained], create_graph=True)
            moves = self._masked(dict(zip(trained, gradients, strict=True)))
            state |= {name: state[name] - rate * move for name, move in moves.items()}
        inputs, targets = self.batches[steps % len(self.batches)]
        final = self._mean_loss(state, inputs, targets, 1)
        return dict(zip(gates, slopes(final, list(gates.values())), strict=True))

    def relevance(self, epsilon: float, alpha: float | None) -> Scores:
        """Mean relevance of each weight for the output of the true class: what it passes on to its inputs.

        By the ε rule, or by the αβ rule if alpha is given; see `pruners.relevance`.

        Raises:
            ValueError: the targets are not the numbers of classes, or the network gives no output for each.
        """

        def part(leaves: Scores, inputs: Tensor, targets: Tensor) -> Part:
            sums = relevance.weight_relevance(
                self.forward, leaves, inputs, targets, epsilon=epsilon, alpha=alpha
            )
            return sums.values(), len(targets)

        return self._mean(part)

    def input_norms(self) -> Scores:
        """‖x‖₂ of the inputs x that each weight is multiplied with, over all samples and positions.

        Raises:
            ValueError: a weight is used otherwise than in a linear map or convolution.
        """

        def part(leaves: Scores, inputs: Tensor, targets: Tensor) -> Part:
            return squared_inputs(self.forward, leaves, inputs).values(), len(targets)

        return {name: (self.samples * mean).sqrt() for name, mean in self._mean(part).items()}

    def read(self) -> dict[str, columns.Read]:
        """What each weight reads, in float64; see `pruners.columns`."""
        return columns.read(self.forward, self.weights, [inputs for inputs, _ in self.batches])

    def block_cosines(self) -> dict[str, float]:
        """Residual block → the mean cosine of its inputs and its outputs; see `pruners.residual`."""
        inputs = [each for each, _ in self.batches]
        return residual.cosines(self._model, inputs, partial(self.forward, self.weights))

    def spread_ratios(self) -> Scores:
        """Σ σ(output) / σ(window) of each weight's filter, by its size: a mean over batches, by length."""

        def part(leaves: Scores, inputs: Tensor, targets: Tensor) -> Part:
            ratios = spread_ratios(self.forward, leaves, inputs)
            return [len(targets) * ratio for ratio in ratios.values()], len(targets)

        return self._mean(part)

    def tangent_kernel(self, epsilon: float, draws: int, redraw: bool) -> Scores:
        """∂/∂m Σ ‖f(x; m⊙w) − f(x; m⊙(w + εz))‖² over draws of inputs x and noise z from N(0, 1).

        BatchNorm uses the statistics of the unperturbed pass in both terms.

        Args:
            epsilon: size of the perturbation.
            draws: draws of x and z for each batch.
            redraw: draw w too, from a normal distribution as wide as the layer's weights are.
        """
        generator = torch.Generator().manual_seed(self._seed)
        masks = self._masks or {name: torch.ones_like(weight) for name, weight in self.dense.items()}
        seed_layers(self._device, self._seed)
        inputs = [full_precision(inputs) for inputs, _ in self.batches]
        return tangent.output_change_gradients(
            self.forward, self.dense, masks, inputs, generator, epsilon=epsilon, draws=draws, redraw=redraw
        )

    def forward(
        self, leaves: Mapping[str, Tensor], inputs: Tensor, others: Callable[[Tensor], Tensor] | None = None
    ) -> Any:
        """Outputs with `leaves` in place of the parameters they name.

        Args:
            others: applied to the other real-valued parameters and buffers; None: `full_precision`.
        """
        change = others or full_precision
        # Cloned, because a BatchNorm in train mode writes its running statistics.
        rest = {
            name: change(each.detach().clone()) if each.is_floating_point() else each.detach().clone()
            for name, each in [*self._model.named_parameters(), *self._model.named_buffers()]
            if name not in leaves
        }
        own = next(iter(leaves.values())).dtype == self._precision
        with nullcontext() if own else HighestPrecision():
            output: Any = run(self._model, {**rest, **leaves}, full_precision(inputs))
        return output

    def _masked(self, values: Scores) -> Scores:
        """The values, with 0 for pruned weights."""
        masks = self._masks or {}
        return {n: v.masked_fill(~masks[n], 0) if n in masks else v for n, v in values.items()}

    def _once(self, key: tuple[str, float, int], compute: Callable[[], Scores]) -> Scores:
        """Compute a value for the first criterion that needs it, and keep it for the others."""
        if key not in self._computed:
            self._computed[key] = compute()
        return self._computed[key]

    def _mean_loss(
        self, leaves: Mapping[str, Tensor], inputs: Tensor, targets: Tensor, temperature: float
    ) -> Tensor:
        outputs = self.forward(leaves, inputs)
        loss = self._loss(outputs if temperature == 1 else single_tensor(outputs) / temperature, targets)
        check_number(outputs, loss)
        return loss

    def _mean(self, part: Callable[[Scores, Tensor, Tensor], Part]) -> Scores:
        """Parameter name → the mean over all batches.

        Args:
            part: leaves, inputs and targets of a batch → its sums and their number of terms.
        """
        leaves = {name: weight.detach().requires_grad_() for name, weight in self.weights.items()}
        total: list[Tensor] = []
        number = 0
        seed_layers(self._device, self._seed)
        for inputs, targets in self.batches:
            sums, count = part(leaves, inputs, targets)
            number += count
            total = [t + s for t, s in zip(total, sums, strict=True)] if total else list(sums)
        # One parameter after another, so that no second copy of all is in memory.
        return {name: total.pop(0).detach() / number for name in leaves}
