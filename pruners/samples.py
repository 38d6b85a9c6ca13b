"""Squared gradients of single samples, many at once: the diagonal of the empirical Fisher matrix."""

from collections import Counter, defaultdict
from collections.abc import Mapping

import torch
from torch import Tensor
from torch.autograd.graph import GradientEdge, get_gradient_edge
from torch.func import grad, vmap

from pruners.batches import Loss
from pruners.forward import Forward, single_tensor
from pruners.gradients import check_number, slopes
from pruners.linear_maps import Interpreter, LinearMap
from pruners.patches import from_kernel_rows, kernel_rows, patches

# Numbers that fit into a processor's cache, and numbers that take little memory.
_CACHE, _MEMORY = 2**18, 2**22
# Up to this number of positions, sums over pairs of positions cost less than gradients of single samples.
_FEW_POSITIONS = 4


def squared_gradients(
    forward: Forward, leaves: Mapping[str, Tensor], inputs: Tensor, targets: Tensor, loss: Loss
) -> dict[str, Tensor]:
    """Parameter name → Σ_n g_n², g_n the gradient of the loss of sample n alone.

    One forward and one backward pass of the batch give the inputs of each linear map and the gradients of its
    outputs. The weight's gradient for one sample is the sum over positions of their outer products; only its
    square is stored. A network for which this does not hold, such as one that mixes samples with another
    dimension, is differentiated sample by sample under `vmap`, a few times slower.

    Args:
        forward: parameters and inputs → outputs of the network.
        leaves: the parameters, requiring gradients.
        loss: outputs and targets → mean loss over the samples.

    Raises:
        ValueError: the network's output is no tensor, or the loss of a batch is not the mean of the losses of
            its samples.
    """
    maps = _MapGradients(leaves, len(inputs), _gradients(forward, leaves, inputs[:1], targets[:1], loss))
    with Interpreter(maps.call):
        output = single_tensor(forward(leaves, inputs))
    losses = vmap(lambda o, t: loss(o.unsqueeze(0), t.unsqueeze(0)))(output, targets)
    batch_loss = loss(output.detach(), targets)
    check_number(output, batch_loss)
    _check_mean(losses.detach(), batch_loss)
    del output
    maps.backward(losses.sum())
    if maps.mixed or any(gradient.any() for gradient in maps.first.values()):
        return _one_by_one(forward, leaves, inputs, targets, loss)
    return {
        name: maps.squares[name] if name in maps.squares else torch.zeros_like(leaf)
        for name, leaf in leaves.items()
    }


def _check_mean(losses: Tensor, batch_loss: Tensor) -> None:
    """Raise `ValueError` unless a batch's loss is the mean of the losses of its samples."""
    far = (losses.mean() - batch_loss).abs() > 1e-3 * losses.abs().mean()
    if far.any() or losses.isnan().any() != batch_loss.isnan().any():
        raise ValueError(
            "it scores with single samples, and the loss of a batch is not the mean of theirs, as with class "
            "weights, ignored targets or sums: give one that is, such as "
            "lambda y, t: cross_entropy(y, t, weight=w, reduction='none').mean()"
        )


def _gradients(
    forward: Forward, leaves: Mapping[str, Tensor], inputs: Tensor, targets: Tensor, loss: Loss
) -> dict[str, Tensor]:
    gradients = slopes(loss(forward(leaves, inputs), targets), list(leaves.values()))
    return dict(zip(leaves, gradients, strict=True))


class _MapGradients:
    """Σ_n g_n² of each weight, from the inputs of its linear maps and the gradients of their outputs.

    Attributes:
        squares: parameter name → Σ_n g_n², of the parameters that are done.
        first: parameter name → g of the first sample, computed from it alone; of the parameters not yet done.
        mixed: a map does not treat each sample by itself, so that `squares` are wrong.
    """

    def __init__(self, leaves: Mapping[str, Tensor], samples: int, first: dict[str, Tensor]) -> None:
        self._names = {id(leaf): name for name, leaf in leaves.items()}
        self._leaves, self._samples = leaves, samples
        self._uses: Counter[str] = Counter()
        self._arrived: dict[str, list[tuple[LinearMap, Tensor]]] = defaultdict(list)
        # Maps whose inputs depend on no parameter: the backward pass ends there.
        self._ends: list[tuple[LinearMap, GradientEdge]] = []
        self.squares: dict[str, Tensor] = {}
        self.first, self.mixed = first, False

    def call(self, call: LinearMap) -> Tensor:
        """In the forward pass: the output of a map, observed for the backward pass."""
        output = call.output()
        if id(call.weight) in self._names:
            self.mixed |= "transpose" in call.function or len(call.inputs) != self._samples
            self._uses[self._names[id(call.weight)]] += 1
            # A hook and an edge both refer to the output before an activation overwrites it in place.
            if call.inputs.requires_grad:
                output.register_hook(lambda slope: self._receive(call, slope))
            else:
                self._ends.append((call, get_gradient_edge(output)))
        return output

    def backward(self, total: Tensor) -> None:
        """The backward pass from the summed loss, without the gradients of the weights, which are unused."""
        if self.mixed or not self._ends:
            return
        slopes = torch.autograd.grad(total, [edge for _, edge in self._ends], allow_unused=True)
        for (call, _), slope in zip(self._ends, slopes, strict=True):
            if slope is not None:
                self._receive(call, slope)
        for name in list(self._arrived):  # weights with a use that does not reach the output
            self._add(name)

    def _receive(self, call: LinearMap, slope: Tensor) -> None:
        name = self._names[id(call.weight)]
        self._arrived[name].append((call, slope.detach()))
        if len(self._arrived[name]) == self._uses[name]:
            self._add(name)

    @torch.no_grad()
    def _add(self, name: str) -> None:
        uses, leaf = self._arrived.pop(name), self._leaves[name]
        rows = patches(uses[0][0].of(slice(0, 1)))
        groups, places, width = rows.shape[1:]
        places *= len(uses)
        few = places <= _FEW_POSITIONS
        total = leaf.new_zeros(groups, len(kernel_rows(leaf)) // groups, width)
        at_once = _MEMORY // rows.numel() if few else _CACHE // max(rows.numel(), total.numel())
        for some in torch.arange(self._samples).split(max(1, at_once)):
            chosen = slice(int(some[0]), int(some[-1]) + 1)
            # Several uses of a weight, such as the steps of a recurrent layer, count as further positions.
            entering = torch.cat([patches(call.of(chosen)) for call, _ in uses], 2)
            leaving = torch.cat([_leaving(call, slope[chosen], groups) for call, slope in uses], 2)
            if chosen.start == 0:
                expected = self.first.pop(name)
                first = from_kernel_rows((leaving[0].transpose(1, 2) @ entering[0]).flatten(0, 1), leaf)
                distance = torch.linalg.vector_norm(first - expected)
                self.mixed |= not distance <= 1e-3 * torch.linalg.vector_norm(expected)
            if few:
                _add_pairs(total, entering, leaving)
            else:
                total += (leaving.transpose(2, 3) @ entering).square_().sum(0)
        # A sum over pairs can round to just below 0 where the square is close to 0.
        self.squares[name] = from_kernel_rows(total.clamp_min_(0).flatten(0, 1), leaf)


def _leaving(call: LinearMap, slope: Tensor, groups: int) -> Tensor:
    """The gradients of a linear map's outputs, reshaped to (N, groups, positions, outputs of a group)."""
    if call.function == "linear":
        return slope.reshape(len(slope), 1, -1, slope.shape[-1])
    return slope.reshape(len(slope), groups, slope.shape[1] // groups, -1).transpose(2, 3)


def _add_pairs(total: Tensor, entering: Tensor, leaving: Tensor) -> None:
    """Add Σ_n (Σ_l leaving_nl ⊗ entering_nl)², as a sum over pairs of positions, all samples at once."""
    places = entering.shape[2]
    for i in range(places):
        for j in range(i, places):
            left = (leaving[:, :, i] * leaving[:, :, j]).permute(1, 2, 0)
            right = (entering[:, :, i] * entering[:, :, j]).transpose(0, 1)
            total.add_(left @ right, alpha=1 if i == j else 2)


def _one_by_one(
    forward: Forward, leaves: Mapping[str, Tensor], inputs: Tensor, targets: Tensor, loss: Loss
) -> dict[str, Tensor]:
    """As `squared_gradients`, from the gradient of each sample."""
    weights = {name: leaf.detach() for name, leaf in leaves.items()}
    total = {name: torch.zeros_like(weight) for name, weight in weights.items()}
    at_once = max(1, 12 * _CACHE // sum(weight.numel() for weight in weights.values()))

    def alone(weights: Mapping[str, Tensor], one: Tensor, target: Tensor) -> Tensor:
        with Interpreter(LinearMap.output):  # recurrent kernels fail under vmap, their steps do not
            return loss(forward(weights, one.unsqueeze(0)), target.unsqueeze(0))

    sample_gradients = vmap(grad(alone), in_dims=(None, 0, 0), randomness="different")
    try:
        for rows in torch.arange(len(targets), device=targets.device).split(at_once):
            for name, each in sample_gradients(weights, inputs[rows], targets[rows]).items():
                total[name] += each.square().sum(0)
    except RuntimeError:  # `vmap` cannot follow the network, such as a BatchNorm that updates its statistics
        total = {name: torch.zeros_like(weight) for name, weight in weights.items()}
        for row in range(len(targets)):
            one = slice(row, row + 1)
            for name, each in _gradients(forward, leaves, inputs[one], targets[one], loss).items():
                total[name] += each.square()
    return total
