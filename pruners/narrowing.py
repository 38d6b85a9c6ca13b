"""A network without its removed units: really smaller, with the outputs of the masked one."""

from collections.abc import Callable, Iterable, Mapping
from copy import deepcopy
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode, resolve_name

from pruners.calls import Calls
from pruners.forward import in_mode
from pruners.units import UnitGroup


def narrowed(
    model: nn.Module,
    groups: Iterable[UnitGroup],
    kept: Mapping[str, Tensor],
    example_input: Tensor | None = None,
) -> nn.Module:
    """A copy of a network without the removed units: parameters, buffers and sizes of modules are cut.

    In eval mode its outputs are those of the network with the masks of `units.unit_masks`, and in train mode
    too, where no dropout draws. Names of parameters stay as they are.

    Args:
        groups: those of `coupling.channel_groups`.
        kept: name of a group → (units,), False for removed units; a group that is not named keeps all.
        example_input: one batch; if given, the copy is run on a sample, to find sizes that `forward` has.

    Raises:
        ValueError: a group keeps no unit or has another number of units. Or the copy does not run: the
            message names the layer and the function where a size stands in `forward`.
    """
    copy = deepcopy(model)
    tensors = {**dict(copy.named_parameters()), **dict(copy.named_buffers())}
    removed = _removed(groups, kept)
    new = {id(tensors[name]): _cut(tensors[name], places) for name, places in removed.items()}
    for module in list(copy.modules()):
        before = {name: tuple(each.shape) for name, each in _own(module).items()}
        changed = {name: new[id(each)] for name, each in _own(module).items() if id(each) in new}
        if changed:
            for name, tensor in changed.items():
                setattr(module, name, tensor)
            _resize(module, before)
    if example_input is not None:
        _check(copy, example_input)
    return copy


def _removed(groups: Iterable[UnitGroup], kept: Mapping[str, Tensor]) -> dict[str, dict[int, list[int]]]:
    """Parameter or buffer → dimension → positions that are cut out."""
    removed: dict[str, dict[int, list[int]]] = {}
    for group in groups:
        stay = kept.get(group.name, torch.ones(group.size, dtype=torch.bool)).cpu()
        if len(stay) != group.size:
            raise ValueError(f"kept[{group.name!r}] is of {len(stay)} units and the group has {group.size}")
        if not stay.any():
            raise ValueError(f"{group.name} keeps none of its {group.size} units: keep at least one")
        for member in group.members:
            if not stay.all():
                places = removed.setdefault(member.parameter, {}).setdefault(member.dim, [])
                places += member.index[~stay].flatten().tolist()
    return removed


def _own(module: nn.Module) -> dict[str, Tensor]:
    """A module's own parameters and buffers."""
    own = [*module.named_parameters(recurse=False), *module.named_buffers(recurse=False)]
    return dict(own)


@torch.no_grad()
def _cut(tensor: Tensor, removed: Mapping[int, list[int]]) -> Tensor:
    """The tensor without some positions of its dimensions, in its layout in memory."""
    last = tensor.dim() == 4 and tensor.is_contiguous(memory_format=torch.channels_last)
    result = tensor
    for dim, places in removed.items():
        stay = torch.ones(tensor.shape[dim], dtype=torch.bool)
        stay[places] = False
        result = result.index_select(dim, stay.nonzero().squeeze(1).to(tensor.device))
    result = result.contiguous(memory_format=torch.channels_last) if last else result.contiguous()
    return nn.Parameter(result, tensor.requires_grad) if isinstance(tensor, nn.Parameter) else result


def _resize(module: Any, before: Mapping[str, tuple[int, ...]]) -> None:
    """Set the sizes that a module keeps beside its parameters.

    Args:
        before: the shapes of its parameters and buffers as they were.
    """
    for kind, resize in _RESIZED.items():
        if isinstance(module, kind):
            resize(module, before)
            return


def _linear(layer: Any, before: Mapping[str, tuple[int, ...]]) -> None:
    layer.out_features, layer.in_features = layer.weight.shape


def _convolution(layer: Any, before: Mapping[str, tuple[int, ...]]) -> None:
    outer, inner = layer.weight.shape[:2]
    if layer.in_channels == layer.groups > 1:  # one input for each group: groups go with their input
        layer.groups = outer * layer.groups // before["weight"][0]
    if layer.transposed:
        layer.in_channels, layer.out_channels = outer, inner * layer.groups
    else:
        layer.out_channels, layer.in_channels = outer, inner * layer.groups


def _norm(layer: Any, before: Mapping[str, tuple[int, ...]]) -> None:
    layer.num_features = len(layer.weight if layer.weight is not None else layer.running_mean)


def _group_norm(layer: Any, before: Mapping[str, tuple[int, ...]]) -> None:
    layer.num_groups = layer.num_groups * len(layer.weight) // layer.num_channels
    layer.num_channels = len(layer.weight)


def _recurrent(layer: Any, before: Mapping[str, tuple[int, ...]]) -> None:
    layer.input_size = layer.weight_ih_l0.shape[1]
    layer.hidden_size = len(layer.weight_hh_l0) * layer.hidden_size // before["weight_hh_l0"][0]


def _attention(layer: Any, before: Mapping[str, tuple[int, ...]]) -> None:
    if layer.in_proj_weight is None:
        raise ValueError("nn.MultiheadAttention with own sizes of keys or values cannot be narrowed")
    layer.num_heads = layer.num_heads * len(layer.in_proj_weight) // before["in_proj_weight"][0]
    # Torch's fast path of whole encoder layers takes heads of width embed_dim / num_heads for granted.
    layer._qkv_same_embed_dim = False
    layer.__class__ = NarrowAttention


def _prelu(layer: Any, before: Mapping[str, tuple[int, ...]]) -> None:
    layer.num_parameters = len(layer.weight)


def _embedding(layer: Any, before: Mapping[str, tuple[int, ...]]) -> None:
    layer.embedding_dim = layer.weight.shape[1]


_RESIZED: dict[type[nn.Module], Callable[[Any, Mapping[str, tuple[int, ...]]], None]] = {
    nn.Linear: _linear,
    nn.modules.conv._ConvNd: _convolution,
    nn.modules.batchnorm._NormBase: _norm,
    nn.GroupNorm: _group_norm,
    nn.RNNBase: _recurrent,
    nn.MultiheadAttention: _attention,
    nn.PReLU: _prelu,
    nn.Embedding: _embedding,
}


class NarrowAttention(nn.MultiheadAttention):
    """`nn.MultiheadAttention` that has lost heads: the others keep their width.

    Its `in_proj_weight` is (3 · heads · width, E) and its `out_proj.weight` (E, heads · width).
    """

    def forward(  # type: ignore[override]
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        key_padding_mask: Tensor | None = None,
        need_weights: bool = True,
        attn_mask: Tensor | None = None,
        average_attn_weights: bool = True,
        is_causal: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        """As `nn.MultiheadAttention`.

        Raises:
            ValueError: inputs without a dimension of batches.
        """
        if query.dim() != 3:
            raise ValueError(f"narrowed attention takes (N, L, E), and the queries are {tuple(query.shape)}")
        if not self.batch_first:
            query, key, value = (each.transpose(0, 1) for each in (query, key, value))
        weights = self.in_proj_weight.chunk(3)
        biases = self.in_proj_bias.chunk(3) if self.in_proj_bias is not None else (None,) * 3
        parts = zip((query, key, value), weights, biases, strict=True)
        q, k, v = (F.linear(*part).unflatten(-1, (self.num_heads, -1)).transpose(1, 2) for part in parts)
        mask = _additive(attn_mask, q)
        if mask is not None and mask.dim() == 3:
            mask = mask.unflatten(0, (len(q), -1))
        if key_padding_mask is not None:
            padding = _additive(key_padding_mask, q)
            assert padding is not None
            padding = padding[:, None, None]
            mask = padding if mask is None else mask + padding
        rate = self.dropout if self.training else 0.0
        if need_weights:
            scores = q @ k.transpose(-1, -2) * q.shape[-1] ** -0.5
            shares = (scores if mask is None else scores + mask).softmax(-1)
            attended = F.dropout(shares, rate, self.training) @ v
            seen = shares.mean(1) if average_attn_weights else shares
        else:
            attended, seen = F.scaled_dot_product_attention(q, k, v, mask, rate), None
        outputs = self.out_proj(attended.transpose(1, 2).flatten(2))
        return outputs if self.batch_first else outputs.transpose(0, 1), seen


def _additive(mask: Tensor | None, like: Tensor) -> Tensor | None:
    """A mask that is added to scores; boolean ones are True where nothing is read."""
    if mask is None or mask.dtype != torch.bool:
        return mask
    return torch.zeros(mask.shape, dtype=like.dtype, device=like.device).masked_fill(mask, -torch.inf)


class _Checked(TorchFunctionMode):
    """A context in which a function that fails raises a `ValueError` that names it and the layer."""

    def __init__(self, calls: Calls) -> None:
        super().__init__()
        self._calls = calls

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """Called by torch for each of its functions that is called in the context."""
        try:
            return func(*args, **(kwargs or {}))
        except (RuntimeError, ValueError, AssertionError, IndexError) as error:
            name = (resolve_name(func) or func.__name__).rpartition(".")[2]
            reason = str(error).strip().partition("\n")[0]
            raise ValueError(
                f"{self._calls.layer} cannot be narrowed: its {name} has a size of its own ({reason}); "
                "exclude the weights before it"
            ) from None


@torch.no_grad()
def _check(model: nn.Module, example_input: Tensor) -> None:
    """Run a network on one sample, as `forward` may have sizes of its own."""
    with in_mode(model, train=False), Calls(model) as calls, _Checked(calls):
        model(example_input[:1])
