"""Gradients of single samples, many at once: what the diagonal of the empirical Fisher matrix is made of."""

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping

import torch
from torch import Tensor
from torch.autograd.graph import GradientEdge, get_gradient_edge
from torch.func import grad, vmap

from pruners.maps import Interpreter, LinearMap, from_kernel_rows, kernel_rows, patches, tensor

Forward = Callable[[Mapping[str, Tensor], Tensor], Tensor]
Loss = Callable[[Tensor, Tensor], Tensor]
# So many numbers at once stay in a processor's cache, and so many take little memory.
_CACHE, _MEMORY = 2**18, 2**22
# Below so many positions, sums over pairs of positions cost less than gradients of single samples.
_FEW_POSITIONS = 4


def squared_gradients(
    forward: Forward, leaves: Mapping[str, Tensor], inputs: Tensor, targets: Tensor, loss: Loss
) -> dict[str, Tensor]:
    """Parameter name → Σ_n g_n², g_n the gradient of the loss of sample n alone.

    One forward and one backward pass of the whole batch give what enters and what leaves each linear map. The
    gradient of a sample is the sum over positions of the outer products of the two, and only its square is
    added up. Networks of which this is not true, as when samples share a dimension with something else, are
    differentiated sample by sample under `vmap`, a few times slower.

    Args:
        forward: outputs of the network with the given parameters.
        leaves: the parameters, requiring gradients.

    Raises:
        ValueError: the network gives no tensor, or the loss of a batch is not the mean of its samples' own.
    """
    found = _Passing(leaves, len(inputs), _gradients(forward, leaves, inputs[:1], targets[:1], loss))
    with Interpreter(found.call):
        output = tensor(forward(leaves, inputs))
    losses = vmap(lambda o, t: loss(o.unsqueeze(0), t.unsqueeze(0)))(output, targets)
    whole = loss(output.detach(), targets)
    check_number(output, whole)
    _check_mean(losses.detach(), whole)
    del output
    found.backward(losses.sum())
    if found.mixed or any(gradient.any() for gradient in found.first.values()):
        return _one_by_one(forward, leaves, inputs, targets, loss)
    return {
        name: found.squares[name] if name in found.squares else torch.zeros_like(leaf)
        for name, leaf in leaves.items()
    }


def check_number(outputs: object, loss: Tensor) -> None:
    """Raise `ValueError` where the loss of finite outputs is NaN; the gradient of one of no targets is 0."""
    if loss.isnan().any() and isinstance(outputs, Tensor) and outputs.isfinite().all():
        raise ValueError("the loss of a batch is NaN: give targets, at least one of them not ignored")


def _check_mean(losses: Tensor, whole: Tensor) -> None:
    """Raise `ValueError` unless a batch's loss is the mean of its samples' own losses."""
    far = (losses.mean() - whole).abs() > 1e-3 * losses.abs().mean()
    if far.any() or losses.isnan().any() != whole.isnan().any():
        raise ValueError(
            "it scores with single samples, and the loss of a batch is not the mean of theirs, as with class "
            "weights, ignored targets or sums: give one that is, such as "
            "lambda y, t: cross_entropy(y, t, weight=w, reduction='none').mean()"
        )


def _gradients(
    forward: Forward, leaves: Mapping[str, Tensor], inputs: Tensor, targets: Tensor, loss: Loss
) -> dict[str, Tensor]:
    slopes = torch.autograd.grad(
        loss(forward(leaves, inputs), targets),
        list(leaves.values()),
        allow_unused=True,
        materialize_grads=True,
    )
    return dict(zip(leaves, slopes, strict=True))


class _Passing:
    """Takes down what enters linear maps in a forward pass, and meets it with what leaves them in a backward.

    Attributes:
        squares: parameter name → Σ_n g_n², of those that were met.
        first: parameter name → g of the first sample, as a pass of it alone gives it; of those not yet met.
        mixed: something was met that is not a map of each sample by itself.
    """

    def __init__(self, leaves: Mapping[str, Tensor], samples: int, first: dict[str, Tensor]) -> None:
        self._names = {id(leaf): name for name, leaf in leaves.items()}
        self._leaves, self._samples = leaves, samples
        self._uses: Counter[str] = Counter()
        self._arrived: dict[str, list[tuple[LinearMap, Tensor]]] = defaultdict(list)
        # Where a backward pass can stop: maps that no parameter comes before.
        self._ends: list[tuple[LinearMap, GradientEdge]] = []
        self.squares: dict[str, Tensor] = {}
        self.first, self.mixed = first, False

    def call(self, call: LinearMap) -> Tensor:
        """In the forward pass."""
        output = call.output()
        if id(call.weight) in self._names:
            self.mixed |= "transpose" in call.function or len(call.inputs) != self._samples
            self._uses[self._names[id(call.weight)]] += 1
            # Both see the output as it is here: an activation may overwrite it in place.
            if call.inputs.requires_grad:
                output.register_hook(lambda slope: self._meet(call, slope))
            else:
                self._ends.append((call, get_gradient_edge(output)))
        return output

    def backward(self, total: Tensor) -> None:
        """The backward pass; without the weights' own gradients, which nobody needs."""
        if self.mixed or not self._ends:
            return
        slopes = torch.autograd.grad(total, [edge for _, edge in self._ends], allow_unused=True)
        for (call, _), slope in zip(self._ends, slopes, strict=True):
            if slope is not None:
                self._meet(call, slope)
        for name in list(self._arrived):  # some of whose uses reach no output
            self._add(name)

    def _meet(self, call: LinearMap, slope: Tensor) -> None:
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
            # Several uses of a weight, such as the steps of a recurrent layer, are so many more positions.
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
        # A sum over pairs can round to just below 0 where it is a square of next to nothing.
        self.squares[name] = from_kernel_rows(total.clamp_min_(0).flatten(0, 1), leaf)


def _leaving(call: LinearMap, slope: Tensor, groups: int) -> Tensor:
    """The gradients of a linear map's outputs as (N, groups, positions, outputs of a group)."""
    if call.function == "linear":
        return slope.reshape(len(slope), 1, -1, slope.shape[-1])
    return slope.reshape(len(slope), groups, slope.shape[1] // groups, -1).transpose(2, 3)


def _add_pairs(total: Tensor, entering: Tensor, leaving: Tensor) -> None:
    """Add Σ_n (Σ_l leaving_nl ⊗ entering_nl)²: over pairs of positions, products of all samples."""
    places = entering.shape[2]
    for i in range(places):
        for j in range(i, places):
            left = (leaving[:, :, i] * leaving[:, :, j]).permute(1, 2, 0)
            right = (entering[:, :, i] * entering[:, :, j]).transpose(0, 1)
            total.add_(left @ right, alpha=1 if i == j else 2)


def _one_by_one(
    forward: Forward, leaves: Mapping[str, Tensor], inputs: Tensor, targets: Tensor, loss: Loss
) -> dict[str, Tensor]:
    weights = {name: leaf.detach() for name, leaf in leaves.items()}
    total = {name: torch.zeros_like(weight) for name, weight in weights.items()}
    at_once = max(1, 12 * _CACHE // sum(weight.numel() for weight in weights.values()))

    def alone(weights: Mapping[str, Tensor], one: Tensor, target: Tensor) -> Tensor:
        with Interpreter(LinearMap.output):  # recurrent kernels do not work under vmap, their steps do
            return loss(forward(weights, one.unsqueeze(0)), target.unsqueeze(0))

    at_a_time = vmap(grad(alone), in_dims=(None, 0, 0), randomness="different")
    try:
        for rows in torch.arange(len(targets), device=targets.device).split(at_once):
            for name, each in at_a_time(weights, inputs[rows], targets[rows]).items():
                total[name] += each.square().sum(0)
    except RuntimeError:  # a network that `vmap` cannot follow, as where a BatchNorm takes down statistics
        total = {name: torch.zeros_like(weight) for name, weight in weights.items()}
        for row in range(len(targets)):
            here = slice(row, row + 1)
            for name, each in _gradients(forward, leaves, inputs[here], targets[here], loss).items():
                total[name] += each.square()
    return total
