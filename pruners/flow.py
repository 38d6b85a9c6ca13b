"""The flow through a network of positive weights: synaptic flow, and that of the paths that data activate."""

import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
import torch.autograd.forward_ad as forward_ad
from torch import Tensor

from pruners.batches import Batch
from pruners.forward import Forward, single_tensor
from pruners.gradients import slopes
from pruners.linear_maps import Interpreter, LinearMap

# Functions that scale each signal by numbers of their own and their weights; and those of two slopes.
_NORMALIZATIONS = ("batch_norm", "layer_norm", "group_norm", "instance_norm", "rms_norm")
_RECTIFIERS = ("relu", "leaky_relu")


def synaptic(
    forward: Callable[..., Any], weights: Mapping[str, Tensor], batches: Sequence[Batch], power: int
) -> dict[str, Tensor]:
    """∂R/∂|w|ᵖ with R = Σ f(1; |w|ᵖ): the summed outputs for inputs of 1 and powers of absolute parameters.

    In float64: the products of a deep network leave the range of float32.

    Args:
        forward: parameters, inputs, and a change of the other parameters → outputs of the network.
        batches: of which only the shape of one input counts.
        power: p.

    Returns:
        Parameter name → gradient of the parameter's shape.

    Raises:
        ValueError: there is no batch, or its inputs are not real-valued.
    """
    if batches and not batches[0][0].is_floating_point():
        raise ValueError(
            "its flow begins at inputs of 1, and these are whole numbers, such as tokens: take another score"
        )
    if not batches:
        raise ValueError(
            "this score needs one batch of real-valued inputs, for their shape: "
            "give batches=[(inputs, targets)]"
        )
    leaves, outputs = _flow(forward, weights, batches[0][0], power)
    return dict(zip(leaves, slopes(outputs.sum(), list(leaves.values())), strict=True))


def activated(
    forward: Callable[..., Any], weights: Mapping[str, Tensor], inputs: Tensor
) -> dict[str, Tensor]:
    """∂R/∂w² with R = Σ z₁ ⊙ z₂, summed over the samples (Iurada et al. 2024).

    z₂ is the output for an input of 1 and squared parameters, without rectifiers; z₁ is that of
    `path_counts`. R bounds the trace of the neural tangent kernel. In float64, as `synaptic`.

    Args:
        forward: parameters, inputs, and a change of the other parameters → outputs of the network.
        inputs: a batch; a sample is an entry of the first dimension, as of the outputs.

    Returns:
        Parameter name → gradient of the parameter's shape.

    Raises:
        ValueError: the inputs are not real-valued.
    """
    if not inputs.is_floating_point():
        raise ValueError("it squares the inputs, and can do so only where they are real-valued")

    def high(leaves: Mapping[str, Tensor], values: Tensor) -> Any:
        return forward(leaves, values, Tensor.double)

    precise = {name: weight.detach().double() for name, weight in weights.items()}
    counts = path_counts(high, precise, inputs.double()).sum(0, keepdim=True)
    with Interpreter(LinearMap.output, _without_rectifiers):
        leaves, outputs = _flow(forward, weights, inputs, 2)
    return dict(zip(leaves, slopes((counts * outputs).sum(), list(leaves.values())), strict=True))


def path_counts(forward: Forward, weights: Mapping[str, Tensor], inputs: Tensor) -> Tensor:
    """Σ x² over the paths from the inputs x of each sample to each of its outputs that the inputs activate.

    The outputs for squared inputs of a network whose weights are 1, and 0 where they are 0, without biases
    and normalization, and whose other functions have the slopes that they have in the network itself: 0 or 1
    of ReLU, and of max pooling.

    Args:
        forward: parameters and inputs → outputs of the network.

    Raises:
        ValueError: torch cannot differentiate a function of the network forwards.
    """

    def linear_map(call: LinearMap) -> Tensor:
        signal = forward_ad.unpack_dual(call.inputs).tangent
        output = call.apply(_value(call.inputs), call.weight, call.bias)
        if signal is None:
            return output
        return _dual(output, call.apply(signal, (call.weight != 0).to(signal)))

    def other_call(name: str, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        output = func(*args, **kwargs)
        if name not in _NORMALIZATIONS:
            return output
        signal = forward_ad.unpack_dual(args[0]).tangent
        return output if signal is None else _dual(_value(output), signal)

    # A signal is a tangent: forward-mode differentiation carries it by the slopes of all functions.
    with torch.no_grad(), forward_ad.dual_level(), warnings.catch_warnings():
        # The first tangent of a process compiles code of torch that is deprecated.
        warnings.simplefilter("ignore", FutureWarning)
        try:
            with Interpreter(linear_map, other_call):
                output = single_tensor(forward(weights, _dual(inputs, inputs.square())))
        except NotImplementedError as error:
            raise ValueError(f"a function of the network has no slopes forwards: {error}") from error
        counts: Tensor | None = forward_ad.unpack_dual(output).tangent
        return torch.zeros_like(_value(output)) if counts is None else counts


def _dual(value: Tensor, signal: Tensor) -> Tensor:
    dual: Tensor = forward_ad.make_dual(value, signal)
    return dual


def _value(dual: Tensor) -> Tensor:
    value: Tensor = forward_ad.unpack_dual(dual).primal
    return value


def _flow(
    forward: Callable[..., Any], weights: Mapping[str, Tensor], like: Tensor, power: int
) -> tuple[dict[str, Tensor], Tensor]:
    """Powers of the absolute weights, and the outputs for one input of 1."""

    def change(each: Tensor) -> Tensor:
        return each.double().abs().pow(power)

    leaves = {name: change(weight.detach()).requires_grad_() for name, weight in weights.items()}
    ones = torch.ones_like(like[:1], dtype=torch.float64)
    return leaves, single_tensor(forward(leaves, ones, change))


def _without_rectifiers(
    name: str, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Any:
    return args[0] if name in _RECTIFIERS else func(*args, **kwargs)
