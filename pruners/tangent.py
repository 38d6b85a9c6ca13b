"""How much a network's outputs change when its weights are perturbed: the neural tangent kernel's trace."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from pruners.maps import Interpreter, LinearMap, tensor


def change(
    forward: Callable[[Mapping[str, Tensor], Tensor], Tensor],
    dense: Mapping[str, Tensor],
    masks: Mapping[str, Tensor],
    like: Tensor,
    generator: torch.Generator,
    epsilon: float,
    redraw: bool,
) -> dict[str, Tensor]:
    """∂/∂m Σ ‖f(x; m⊙w) − f(x; m⊙(w + εz))‖² at the masks m, for one draw of x and z from N(0, 1).

    BatchNorm normalizes both terms with the statistics of a pass in train mode before them, as constants: as
    the code of Wang et al. 2023 does.

    Args:
        dense: the weights w.
        like: a batch of inputs, of which only the shape counts.
        redraw: draw w too, from a normal distribution as wide as the layer's weights are.

    Raises:
        ValueError: the inputs are not real-valued.
    """
    if not like.is_floating_point():
        raise ValueError("it draws inputs, and can do so only where they are real-valued")

    def normal(tensor: Tensor) -> Tensor:
        return torch.randn(tensor.shape, generator=generator, device="cpu").to(tensor)

    inputs = normal(like)
    gates = {name: masks[name].to(weight, copy=True).requires_grad_() for name, weight in dense.items()}
    plain, moved = {}, {}
    for name, gate in gates.items():
        weight = normal(dense[name]) * dense[name].square().mean().sqrt() if redraw else dense[name]
        plain[name] = gate * weight
        moved[name] = gate * (weight + epsilon * normal(weight))
    statistics = _Statistics()
    with torch.no_grad(), Interpreter(LinearMap.output, statistics.measure):
        forward(plain, inputs)
    with Interpreter(LinearMap.output, statistics.again()):
        before = forward(plain, inputs)
    with Interpreter(LinearMap.output, statistics.again()):
        after = forward(moved, inputs)
    slopes = torch.autograd.grad(
        (tensor(before) - after).square().sum(),
        list(gates.values()),
        allow_unused=True,
        materialize_grads=True,
    )
    return dict(zip(gates, slopes, strict=True))


class _Statistics:
    """The batch statistics that BatchNorm layers meet in one pass, for use in others."""

    def __init__(self) -> None:
        self._met: list[tuple[Tensor, Tensor]] = []

    def measure(self, name: str, func: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        """A pass in train mode, in which they are taken down."""
        if name != "batch_norm":
            return func(*args, **kwargs)
        values = args[0].transpose(0, 1).flatten(1)
        self._met.append((values.mean(1), values.var(1)))
        return _normalized(args, kwargs, None, training=True)

    def again(self) -> Callable[[str, Callable[..., Any], Any, Any], Any]:
        """A pass that normalizes with them; it meets the layers in the same order."""
        met = iter(self._met)

        def normalize(name: str, func: Callable[..., Any], args: Any, kwargs: Any) -> Any:
            if name != "batch_norm":
                return func(*args, **kwargs)
            return _normalized(args, kwargs, next(met), training=False)

        return normalize


def _normalized(args: Any, kwargs: Any, statistics: tuple[Tensor, Tensor] | None, training: bool) -> Tensor:
    given = dict(zip(("input", "mean", "variance", "weight", "bias"), args, strict=False)) | kwargs
    mean, variance = statistics or (None, None)
    return F.batch_norm(
        given["input"], mean, variance, given.get("weight"), given.get("bias"), training,
        eps=given.get("eps", 1e-5),
    )  # fmt: skip
