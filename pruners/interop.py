"""Masks for other programs: `torch.nn.utils.prune`, state dicts and files."""

from collections.abc import Mapping
from pathlib import Path

import safetensors.torch
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn
from torch.nn.utils import prune as torch_prune

from pruners.masks import Masks, check_fit

_SUFFIX = "_mask"


def to_torch_prune(model: nn.Module, masks: Mapping[str, Tensor]) -> nn.Module:
    """Apply masks as `torch.nn.utils.prune` does: `weight` becomes `weight_orig` times `weight_mask`.

    `torch.nn.utils.prune.remove` makes the pruning permanent.

    Returns:
        The model, which is changed in place.

    Raises:
        ValueError: a mask fits no parameter, or fits one that several modules share.
    """
    parameters = dict(model.named_parameters())
    for name, mask in masks.items():
        path, _, leaf = name.rpartition(".")
        check_fit(name, mask, parameters, model)
        if len([n for n, p in model.named_parameters(remove_duplicate=False) if p is parameters[name]]) > 1:
            raise ValueError(f"{name} is shared by several modules, which torch.nn.utils.prune would part")
        torch_prune.custom_from_mask(model.get_submodule(path), leaf, mask.to(parameters[name].device))
    return model


def state_dict(model: nn.Module, masks: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The model's state dict with pruned weights at 0, and each mask as `NAME_mask` beside its weight."""
    tensors = model.state_dict(keep_vars=True)
    state = {name: tensor.detach().clone() for name, tensor in tensors.items()}
    for name, mask in masks.items():
        check_fit(name, mask, state, model)
        for other, tensor in tensors.items():
            if tensor is tensors[name]:  # a tied weight has several names
                state[other].masked_fill_(~mask.to(state[other].device), 0)
        state[name + _SUFFIX] = mask
    return state


def encode(state: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None) -> bytes:
    """Masks, or any state dict, as the content of a safetensors file.

    Args:
        metadata: texts for the header of the file.
    """
    # Cloned, because safetensors refuses tensors that share memory, as tied weights do.
    tensors = {name: tensor.detach().clone().contiguous() for name, tensor in state.items()}
    content: bytes = safetensors.torch.save(tensors, dict(metadata) if metadata else None)
    return content


def save(path: str | Path, state: Mapping[str, Tensor]) -> None:
    """Write masks, or any state dict, to a safetensors file."""
    Path(path).write_bytes(encode(state))


def load(path: str | Path) -> dict[str, Tensor]:
    """Read the tensors of a file in safetensors' or torch's format, without running code in it.

    Raises:
        ValueError: the file is in neither format.
    """
    try:
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a mapping)
    except SafetensorError:
        pass
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception:  # the unpickler and the archive raise many kinds
        state = None
    if not isinstance(state, Mapping):
        raise ValueError(f"{path}: neither safetensors nor a torch file of named tensors alone")
    return dict(state)


def masks_of(state: Mapping[str, Tensor]) -> Masks:
    """The masks in a state dict made by `state_dict`, or of a model pruned with `torch.nn.utils.prune`."""
    named = [name.removesuffix(_SUFFIX) for name in state if name.endswith(_SUFFIX)]
    # Only with a weight of that name: other buffers may end in `_mask` too.
    return {n: state[n + _SUFFIX].bool() for n in named if n in state or f"{n}_orig" in state}


def weights_of(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A state dict made by `state_dict`, without the masks: `load_state_dict` of the model takes the rest."""
    masks = {name for name in state if name.endswith(_SUFFIX) and name.removesuffix(_SUFFIX) in state}
    return {name: state[name] for name in state if name not in masks}
