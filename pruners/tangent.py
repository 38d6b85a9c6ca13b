"""The change of a network's outputs under perturbed weights: its neural tangent kernel's trace."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from pruners.forward import Forward, single_tensor
from pruners.gradients import slopes
from pruners.linear_maps import Interpreter, LinearMap


def output_change_gradients(
    forward: Forward,
    dense: Mapping[str, Tensor],
    masks: Mapping[str, Tensor],
    batches: Iterable[Tensor],
    generator: torch.Generator,
    *,
    epsilon: float,
    draws: int,
    redraw: bool,
) -> dict[str, Tensor]:
    """The sum of `output_change_gradient` over batches of inputs, and over a number of draws for each."""
    total = {name: torch.zeros_like(weight) for name, weight in dense.items()}
    for like in batches:
        for _ in range(draws):
            gradients = output_change_gradient(
                forward, dense, masks, like, generator, epsilon=epsilon, redraw=redraw
            )
            for name, slope in gradients.items():
                total[name] += slope
    return total


def output_change_gradient(
    forward: Forward,
    dense: Mapping[str, Tensor],
    masks: Mapping[str, Tensor],
    like: Tensor,
    generator: torch.Generator,
    *,
    epsilon: float,
    redraw: bool,
) -> dict[str, Tensor]:
    """∂/∂m Σ ‖f(x; m⊙w) − f(x; m⊙(w + εz))‖² at the masks m, for one draw of x and z from N(0, 1).

    BatchNorm normalizes both terms with constant statistics, taken from a pass in train mode before them, as
    the code of Wang et al. 2023 does.

    Args:
        forward: parameters and inputs → outputs of the network.
        dense: the weights w.
        like: a batch of inputs; only its shape and type count.
        epsilon: size of the perturbation.
        redraw: draw w too, from a normal distribution as wide as the layer's weights are.

    Returns:
        Parameter name → gradient of the parameter's shape.

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
    with Interpreter(LinearMap.output, statistics.replay()):
        before = forward(plain, inputs)
    with Interpreter(LinearMap.output, statistics.replay()):
        after = forward(moved, inputs)
    distance = (single_tensor(before) - after).square().sum()
    return dict(zip(gates, slopes(distance, list(gates.values())), strict=True))


class _Statistics:
    """The batch statistics of the BatchNorm layers in one pass, for use in later passes."""

    def __init__(self) -> None:
        self._measured: list[tuple[Tensor, Tensor]] = []

    def measure(self, name: str, func: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        """In a pass in train mode: record the statistics."""
        if name != "batch_norm":
            return func(*args, **kwargs)
        values = args[0].transpose(0, 1).flatten(1)
        self._measured.append((values.mean(1), values.var(1)))
        return _normalized(args, kwargs, None, training=True)

    def replay(self) -> Callable[[str, Callable[..., Any], Any, Any], Any]:
        """For a pass that calls the layers in the same order: normalize with the recorded statistics."""
        measured = iter(self._measured)

        def normalize(name: str, func: Callable[..., Any], args: Any, kwargs: Any) -> Any:
            if name != "batch_norm":
                return func(*args, **kwargs)
            return _normalized(args, kwargs, next(measured), training=False)

        return normalize


def _normalized(args: Any, kwargs: Any, statistics: tuple[Tensor, Tensor] | None, training: bool) -> Tensor:
    given = dict(zip(("input", "mean", "variance", "weight", "bias"), args, strict=False)) | kwargs
    mean, variance = statistics or (None, None)
    return F.batch_norm(
        given["input"], mean, variance, given.get("weight"), given.get("bias"), training,
        eps=given.get("eps", 1e-5),
    )  # fmt: skip
