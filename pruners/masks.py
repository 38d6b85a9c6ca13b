"""Masks: which weights are prunable, how many are kept, and which."""

import zlib
from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from fnmatch import fnmatch
from fractions import Fraction
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

# Parameter name -> boolean mask of the parameter's shape; True is kept.
Masks = dict[str, Tensor]
Sparsity = float | str | Decimal | Fraction
_WEIGHT_LAYERS = (nn.Linear, nn.modules.conv._ConvNd)
_RECURRENT_LAYERS = (nn.LSTM, nn.GRU)


def prunable(model: nn.Module, exclude: Iterable[str] = ()) -> dict[str, nn.Parameter]:
    """Name → parameter of every prunable weight, in `named_parameters` order.

    Prunable are the `weight` of convolutions and linear layers and the `weight_ih`/`weight_hh` matrices of
    LSTM and GRU; never biases, never normalization layers. A weight shared by two modules appears once.

    Args:
        exclude: shell-style patterns of parameter names to leave dense, such as `"fc.*"`.

    Raises:
        ValueError: no prunable weight remains, a pattern matches no prunable weight, or no mask can be
            applied to a weight that is not excluded: it is no parameter of its layer, has no shape yet, is
            empty, or shares its memory with another weight. The message names the layer.
    """
    fit, unfit = set(), {}
    for path, module in model.named_modules():
        for leaf, parameter in _own_weights(module).items():
            if problem := _unfit(parameter):
                unfit[f"{path}.{leaf}".lstrip(".")] = problem
            else:
                fit.add(id(parameter))
    weights = {name: p for name, p in model.named_parameters() if id(p) in fit}
    candidates = [*weights, *unfit]
    dense = set()
    for pattern in [exclude] if isinstance(exclude, str) else exclude:
        matched = [name for name in candidates if fnmatch(name, pattern)]
        if not matched:
            raise ValueError(f"exclude={pattern!r} matches no prunable weight of {', '.join(candidates)}")
        dense.update(matched)
    for name, problem in unfit.items():
        if name not in dense:
            raise ValueError(f"{name} of {type(model).__name__} {problem}, or exclude it")
    weights = {name: weight for name, weight in weights.items() if name not in dense}
    if not weights:
        raise ValueError(f"{type(model).__name__} has no prunable weight (convolution, linear, LSTM or GRU)")
    _check_apart(weights)
    return weights


def _own_weights(module: nn.Module) -> dict[str, Tensor | None]:
    """Name → parameter of a layer's prunable weights; None for a weight that is no longer a parameter."""
    # A scripted layer has another class; in a quantized layer `weight` is a method.
    scripted = getattr(nn, getattr(module, "original_name", ""), type(None))
    if issubclass(scripted, _WEIGHT_LAYERS + _RECURRENT_LAYERS) or callable(
        getattr(type(module), "weight", None)
    ):
        return {"weight": None}
    if isinstance(module, _RECURRENT_LAYERS):
        names = [name for name in module._flat_weights_names if name.startswith(("weight_ih", "weight_hh"))]
    else:
        names = ["weight"] if isinstance(module, _WEIGHT_LAYERS) else []
    return {name: module._parameters.get(name) for name in names}


def _unfit(weight: Tensor | None) -> str | None:
    """The reason why no mask can be applied to a weight, with a remedy; None if a mask can be applied."""
    if weight is None:
        return (
            "is no parameter but made of others, or held otherwise, as weight_norm, spectral_norm, "
            "parametrizations, torch.nn.utils.prune, TorchScript and quantization do: take that off first"
        )
    if is_lazy(weight):
        return "has no shape before the first forward pass: run the network once"
    if not weight.numel():
        return f"is empty, {tuple(weight.shape)}: take the layer out"
    return None


def _check_apart(weights: Mapping[str, Tensor]) -> None:
    """Raise `ValueError` if two weights share memory: a mask applied to one would be applied to both."""
    spans = sorted(
        (
            weight.data_ptr(),
            weight.data_ptr()
            + sum((size - 1) * step for size, step in zip(weight.shape, weight.stride(), strict=True))
            * weight.element_size(),
            name,
        )
        for name, weight in weights.items()
        if not weight.is_meta
    )
    for (_, last, name), (first, _, other) in pairwise(spans):
        if first <= last:
            raise ValueError(
                f"{other} shares its memory with {name}: let both layers use one parameter, or exclude one"
            )


def kept_count(total: int, sparsity: Sparsity) -> int:
    """Number of weights kept of `total`: max(1, round(total·(1 − sparsity))), half to even.

    Sparsity is read as the decimal it was written as: 0.9 of 1000 keeps exactly 100, though 1000·(1 − 0.9) is
    less in floating point.

    Raises:
        ValueError: sparsity is outside [0, 1).
    """
    try:
        density = 1 - Fraction(str(sparsity))
    except (ValueError, ZeroDivisionError):
        raise ValueError(f"sparsity {sparsity!r}: give a number in [0, 1)") from None
    if not 0 < density <= 1:
        raise ValueError(f"sparsity {sparsity} is outside [0, 1): 0 keeps every weight, 0.99 keeps 1 %")
    return max(1, round(total * density))


def check_fit(name: str, mask: Tensor, tensors: Mapping[str, Tensor], model: nn.Module) -> None:
    """Raise `ValueError` unless the mask has the shape of the model's tensor of that name."""
    if name not in tensors or tensors[name].shape != mask.shape:
        raise ValueError(f"mask {name} {tuple(mask.shape)} fits no parameter of {type(model).__name__}")


@torch.no_grad()
def apply_masks(model: nn.Module, masks: Mapping[str, Tensor]) -> None:
    """Set the pruned weights of `model` to exactly 0, in place.

    Raises:
        ValueError: a mask names no parameter of the model, has another shape, or is not boolean; or the
            parameter was made in inference mode and cannot be written to outside of it.
    """
    parameters = dict(model.named_parameters())
    for name, mask in masks.items():
        if mask.dtype != torch.bool:
            raise ValueError(f"mask {name} is of {mask.dtype}: masks are boolean, True is kept")
        check_fit(name, mask, parameters, model)
        _check_writable(name, parameters[name])
        # A product with the mask would give -0.0, and NaN where a weight is not finite.
        parameters[name].masked_fill_(~mask.to(parameters[name].device), 0)


def _check_writable(name: str, parameter: Tensor) -> None:
    if parameter.is_inference() and not torch.is_inference_mode_enabled():
        raise ValueError(f"{name} was made in inference mode: write to it there, or copy the network")


def shuffle(masks: Mapping[str, Tensor], seed: int = 0) -> Masks:
    """The masks with their entries permuted within each layer, an ablation (Frankle et al. 2021).

    The density of each layer stays the same. A layer's permutation depends only on the seed and its name.
    """
    shuffled = {}
    for name, mask in masks.items():
        generator = torch.Generator().manual_seed(zlib.crc32(f"{seed}/{name}".encode()))
        order = torch.randperm(mask.numel(), generator=generator, device="cpu").to(mask.device)
        shuffled[name] = mask.flatten()[order].view(mask.shape)
    return shuffled


def reinitialize(model: nn.Module, seed: int = 0, init: Callable[[nn.Module], None] | None = None) -> None:
    """Draw new weights for the model, in place: an ablation (Frankle et al. 2021). Apply masks after it.

    The global random state is not changed.

    Args:
        init: called with every module to initialize it; None calls the module's `reset_parameters`.

    Raises:
        ValueError: a parameter was made in inference mode and cannot be written to outside of it.
    """
    for name, parameter in model.named_parameters():
        if not is_lazy(parameter):
            _check_writable(name, parameter)

    def reset(module: nn.Module) -> None:
        # Attention layers have `_reset_parameters`.
        for name in ("reset_parameters", "_reset_parameters"):
            if callable(own := getattr(module, name, None)):
                own()

    devices = {p.device.index for p in model.parameters() if p.device.type == "cuda"}
    with torch.random.fork_rng(sorted(devices)):
        torch.default_generator.manual_seed(seed)
        for index in devices:
            torch.cuda.default_generators[index].manual_seed(seed)
        model.apply(init or reset)


def total_kept(masks: Iterable[Tensor]) -> int:
    """Number of weights that the masks keep in total."""
    return sum(int(mask.count_nonzero()) for mask in masks)


def densities(masks: Mapping[str, Tensor]) -> dict[str, float]:
    """Layer name → share of the layer's weights that is kept."""
    return {name: int(mask.count_nonzero()) / mask.numel() for name, mask in masks.items()}


def collapsed_layers(masks: Mapping[str, Tensor]) -> list[str]:
    """Names of the layers without a kept weight (layer collapse)."""
    return [name for name, mask in masks.items() if not mask.any()]
