"""Effective masks: the kept weights that lie on a path from an input to an output."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from pruners import signals
from pruners.context import without_cudnn
from pruners.forward import in_mode, run, single_tensor
from pruners.linear_maps import Interpreter, LinearMap, keep_graph, leaf_of
from pruners.masks import Masks, check_fit


def effective_masks(model: nn.Module, masks: Mapping[str, Tensor], example_input: Tensor) -> Masks:
    """The masks less the weights through which no signal can pass (Vysogorets & Kempe 2023).

    A kept weight is effective if its input unit can be reached from an input of the network and its output
    unit reaches an output, both along kept weights. Biases and other constants do not count as inputs. The
    network is run once forwards and once backwards on 0/1 signals: linear maps as their masks (LSTM and GRU
    step by step), normalization, activations and gates as the identity, products as additions, max pooling as
    average pooling, attention as a mean over positions.

    Args:
        example_input: one batch, of which only the shape matters; one sample is enough.

    Raises:
        ValueError: the network calls a function for which this is not worked out; the message names it. Or it
            computes with a masked weight otherwise than in linear maps and convolutions, as standardization
            does; the message names the layer. Or a mask belongs to no parameter.
    """
    return masks_on_paths(model, masks, example_input, signals.either)


@torch.inference_mode(False)
def masks_on_paths(
    model: nn.Module,
    masks: Mapping[str, Tensor],
    example_input: Tensor,
    product: Callable[..., Tensor],
) -> Masks:
    """As `effective_masks`, with a rule of one's own for a product of two signals.

    Args:
        product: the signals that are multiplied → the signal of their product: `signals.either`, or
            `signals.both`.
    """
    parameters = dict(model.named_parameters())
    for name, mask in masks.items():
        check_fit(name, mask, parameters, model)
    # In the network's own precision: `forward` may make tensors of that precision itself.
    precision = next(iter(parameters.values())).dtype
    state = {name: torch.zeros_like(parameter) for name, parameter in parameters.items()}
    state |= {name: torch.zeros_like(b) for name, b in model.named_buffers() if b.is_floating_point()}
    leaves = {name: mask.detach().to(precision).requires_grad_() for name, mask in masks.items()}
    signal_pass = _SignalPass(leaves, product)
    signal = torch.ones_like(example_input[:1], dtype=precision)
    with (
        in_mode(model, train=False),
        torch.enable_grad(),
        # cuDNN's recurrent kernels need weights at certain addresses, and its convolutions can give a small
        # number where the signal is 0.
        without_cudnn(),
    ):
        with Interpreter(signal_pass.linear_map, signal_pass.other_call, signals.WHOLE):
            output = single_tensor(run(model, {**state, **leaves}, signal))
        # The output may depend on no masked weight at all.
        slopes = (
            torch.autograd.grad(output.sum(), list(leaves.values()), allow_unused=True)
            if output.requires_grad
            else [None] * len(leaves)
        )
    return {
        name: masks[name] & (slope > 0) if slope is not None else torch.zeros_like(masks[name])
        for name, slope in zip(leaves, slopes, strict=True)
    }


class _SignalPass:
    """What to do at each call of a forward pass on 0/1 signals.

    Args:
        leaves: parameter name → its mask as numbers, requiring gradients.
        product: signals that are multiplied → the signal of their product.
    """

    def __init__(self, leaves: Mapping[str, Tensor], product: Callable[..., Tensor]) -> None:
        self._names = {id(leaf): name for name, leaf in leaves.items()}
        self._product = product
        # Tensors that the network makes of no signal, such as angles of positions, by their ids.
        self._constants: dict[int, Tensor] = {}

    def linear_map(self, call: LinearMap) -> Tensor:
        """The map with its mask in place of its weight; a weight without a mask is dense."""
        if layers := self._layers((call.inputs, call.bias)):
            raise _not_worked_out(call.function, layers)
        return signals.alive(call.apply(call.inputs, self._mask_or_dense(call.weight)))

    def other_call(
        self, name: str, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        """Apply the rule for a function, after a check that a mask among its arguments stays a mask."""
        layers = self._layers((args, kwargs))
        if not layers or name in signals.WHOLE:
            return self._rule(name, func, args, kwargs)
        # A mask that is rearranged, or scaled by a number, is still a mask.
        alone = len(signals.tensors(tree_leaves((args, kwargs)))) == 1
        if name not in signals.PLAIN and not (name in signals.SCALING and alone):
            raise _not_worked_out(name, layers)
        result = self._rule(name, func, args, kwargs)
        made = [each for each in signals.tensors(tree_leaves(result)) if each.requires_grad]
        if len(self._layers(made)) < len(made):
            raise _not_worked_out(name, layers)
        return result

    def _rule(
        self, name: str, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        given = signals.tensors(tree_leaves((args, kwargs)))
        if name in signals.CONSTANTS or (given and all(id(each) in self._constants for each in given)):
            made = func(*args, **kwargs)
            self._constants |= {id(each): each for each in signals.tensors(tree_leaves(made))}
            return made
        if name in signals.PLAIN:
            return keep_graph(name, func, args, kwargs)
        if name in signals.IDENTITY:
            signal = args[0]
        elif name in signals.SUMS:
            signal = signals.either(*self._signals(args))
        elif name in signals.PRODUCTS:
            signal = self._product(*self._signals(args))
        elif name == "multi_head_attention_forward":
            return signals.multi_head_attention(*args, **kwargs, mask_or_dense=self._mask_or_dense)
        elif name in signals.RULES:
            return signals.RULES[name](*args, **kwargs)
        else:
            raise ValueError(f"effective masks are not worked out for networks that call the function {name}")
        if func.__name__.endswith("_") or func.__name__.startswith("__i"):
            return args[0].copy_(signal)  # in place: other references see the result too
        return signal.clone() if signal is args[0] else signal

    def _signals(self, args: Sequence[Any]) -> list[Tensor]:
        """The signals among arguments, in their common shape; constants scale or shift, as numbers do."""
        given = signals.tensors(args)
        shape = torch.broadcast_shapes(*(each.shape for each in given))
        found = [each for each in given if id(each) not in self._constants]
        return [found[0].expand(shape), *found[1:]] if len(found) < len(given) else found

    def _layers(self, values: object) -> list[str]:
        """Names of the layers whose masks are among the values, rearranged or not."""
        leaves = (leaf_of(each) for each in tree_leaves(values) if isinstance(each, Tensor))
        return [self._names[id(leaf)] for leaf in leaves if id(leaf) in self._names]

    def _mask_or_dense(self, weight: Tensor) -> Tensor:
        return weight if self._layers(weight) else torch.ones_like(weight)


def _not_worked_out(function: str, layers: Sequence[str]) -> ValueError:
    return ValueError(
        f"effective masks are not worked out where {function} computes with the weight of layer {layers[0]}"
    )
