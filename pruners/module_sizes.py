"""The sizes that modules keep beside their parameters."""

from collections.abc import Callable, Mapping
from typing import Any

from torch import nn

from pruners.narrow_attention import NarrowAttention

Shapes = Mapping[str, tuple[int, ...]]


def resize(module: Any, before: Shapes) -> None:
    """Set the sizes that a module keeps beside its parameters.

    Args:
        before: the shapes of its parameters and buffers as they were.
    """
    for kind, change in _RESIZED.items():
        if isinstance(module, kind):
            change(module, before)
            return


def _linear(layer: Any, before: Shapes) -> None:
    layer.out_features, layer.in_features = layer.weight.shape


def _convolution(layer: Any, before: Shapes) -> None:
    outer, inner = layer.weight.shape[:2]
    if layer.in_channels == layer.groups > 1:  # one input for each group: groups go with their input
        layer.groups = outer * layer.groups // before["weight"][0]
    if layer.transposed:
        layer.in_channels, layer.out_channels = outer, inner * layer.groups
    else:
        layer.out_channels, layer.in_channels = outer, inner * layer.groups


def _norm(layer: Any, before: Shapes) -> None:
    layer.num_features = len(layer.weight if layer.weight is not None else layer.running_mean)


def _group_norm(layer: Any, before: Shapes) -> None:
    layer.num_groups = layer.num_groups * len(layer.weight) // layer.num_channels
    layer.num_channels = len(layer.weight)


def _recurrent(layer: Any, before: Shapes) -> None:
    layer.input_size = layer.weight_ih_l0.shape[1]
    layer.hidden_size = len(layer.weight_hh_l0) * layer.hidden_size // before["weight_hh_l0"][0]


def _attention(layer: Any, before: Shapes) -> None:
    if layer.bias_k is not None or layer.add_zero_attn:
        raise ValueError(
            "attention with keys of its own (add_bias_kv, add_zero_attn) is not narrowed: exclude it"
        )
    name = "q_proj_weight" if layer.in_proj_weight is None else "in_proj_weight"
    layer.num_heads = layer.num_heads * len(layer.get_parameter(name)) // before[name][0]
    # Torch's fast path of whole encoder layers takes heads of width embed_dim / num_heads for granted.
    layer._qkv_same_embed_dim = False
    layer.__class__ = NarrowAttention


def _prelu(layer: Any, before: Shapes) -> None:
    layer.num_parameters = len(layer.weight)


def _embedding(layer: Any, before: Shapes) -> None:
    layer.embedding_dim = layer.weight.shape[1]


_RESIZED: dict[type[nn.Module], Callable[[Any, Shapes], None]] = {
    nn.Linear: _linear,
    nn.modules.conv._ConvNd: _convolution,
    nn.modules.batchnorm._NormBase: _norm,
    nn.GroupNorm: _group_norm,
    nn.RNNBase: _recurrent,
    nn.MultiheadAttention: _attention,
    nn.PReLU: _prelu,
    nn.Embedding: _embedding,
}
