"""The change of a network's outputs under perturbed weights: its neural tangent kernel's trace."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from pruners.forward import Forward, is_real, single_tensor
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
    the code of Wang et al. 2023 does. Of tokens (whole numbers) x is what each embedding gives,
    drawn from a normal distribution as wide as the embedding's weights are.

    Args:
        forward: parameters and inputs → outputs of the network.
        dense: the weights w.
        like: a batch of inputs; only its shape and type count, of tokens as long as embeddings read them.
        epsilon: size of the perturbation.
        redraw: draw w too, from a normal distribution as wide as the layer's weights are.

    Returns:
        Parameter name → gradient of the parameter's shape.

    Raises:
        ValueError: the inputs are not real-valued, and the network has no embedding of them.
    """

    def normal(tensor: Tensor) -> Tensor:
        return torch.randn(tensor.shape, generator=generator, device="cpu").to(tensor)

    tokens = not like.is_floating_point()
    inputs = like if tokens else normal(like)
    gates = {name: masks[name].to(weight, copy=True).requires_grad_() for name, weight in dense.items()}
    plain, moved = {}, {}
    for name, gate in gates.items():
        weight = normal(dense[name]) * dense[name].square().mean().sqrt() if redraw else dense[name]
        plain[name] = gate * weight
        moved[name] = gate * (weight + epsilon * normal(weight))
    constants = _Constants(normal if tokens else None, like.numel())
    with torch.no_grad(), Interpreter(LinearMap.output, constants.measure):
        forward(plain, inputs)
    if tokens and not constants.embeds:
        raise ValueError("it draws inputs: it takes real numbers, or tokens that go into an embedding")
    with Interpreter(LinearMap.output, constants.replay()):
        before = forward(plain, inputs)
    with Interpreter(LinearMap.output, constants.replay()):
        after = forward(moved, inputs)
    distance = (single_tensor(before) - after).square().sum()
    return dict(zip(gates, slopes(distance, list(gates.values())), strict=True))


class _Constants:
    """What one pass leaves to later ones: the batch statistics of BatchNorm, and drawn embeddings.

    Args:
        normal: draws of the shape of a tensor, in place of what embeddings give; None: they stay as they are.
        tokens: how many there are in the batch.

    Attributes:
        embeds: whether an embedding of the tokens was drawn, and not one of positions alone.
    """

    def __init__(self, normal: Callable[[Tensor], Tensor] | None, tokens: int) -> None:
        self._normal, self._tokens, self.embeds = normal, tokens, False
        self._measured: list[tuple[Tensor, Tensor]] = []
        self._drawn: list[Tensor] = []

    def measure(self, name: str, func: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        """In a pass in train mode: record the statistics, and draw."""
        if name == "embedding" and self._normal:
            tensors = [each for each in (*args, *kwargs.values()) if isinstance(each, Tensor)]
            [weight], [indices] = (
                [each for each in tensors if is_real(each) == real] for real in (True, False)
            )
            self.embeds |= indices.numel() >= self._tokens
            self._drawn.append(self._normal(func(*args, **kwargs)) * weight.square().mean().sqrt())
            return self._drawn[-1]
        if name != "batch_norm":
            return func(*args, **kwargs)
        values = args[0].transpose(0, 1).flatten(1)
        self._measured.append((values.mean(1), values.var(1)))
        return _normalized(args, kwargs, None, training=True)

    def replay(self) -> Callable[[str, Callable[..., Any], Any, Any], Any]:
        """For a pass that calls the layers in the same order: normalize and embed as recorded."""
        measured, drawn = iter(self._measured), iter(self._drawn)

        def again(name: str, func: Callable[..., Any], args: Any, kwargs: Any) -> Any:
            if name == "embedding" and self._normal:
                return next(drawn)
            if name != "batch_norm":
                return func(*args, **kwargs)
            return _normalized(args, kwargs, next(measured), training=False)

        return again


def _normalized(args: Any, kwargs: Any, statistics: tuple[Tensor, Tensor] | None, training: bool) -> Tensor:
    given = dict(zip(("input", "mean", "variance", "weight", "bias"), args, strict=False)) | kwargs
    mean, variance = statistics or (None, None)
    return F.batch_norm(
        given["input"], mean, variance, given.get("weight"), given.get("bias"), training,
        eps=given.get("eps", 1e-5),
    )  # fmt: skip
