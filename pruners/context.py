"""The state of torch while a network is scored: modes, random numbers, precision and kernels."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from pruners.forward import in_mode


@contextmanager
def scoring_context(model: nn.Module, train_mode: bool, device: torch.device) -> Iterator[None]:
    """Set modes, autocast and kernels as scoring needs them; on leaving, restore them and the random state.

    Args:
        train_mode: whether the model is in train mode while it is scored.
        device: the model's.
    """
    cuda = device.type == "cuda"
    cudnn: Any = torch.backends.cudnn
    places = (torch.backends.cuda.matmul, cudnn.conv, cudnn.rnn)
    flags: list[tuple[Any, str, object]] = [(place, "fp32_precision", "ieee") for place in places]
    if any(isinstance(module, nn.RNNBase) for module in model.modules()):
        # cuDNN's recurrent kernels have no backward in eval mode, and no second derivative at all.
        flags.append((cudnn, "enabled", False))
    before = [(place, name, getattr(place, name)) for place, name, _ in flags]
    with (
        in_mode(model, train_mode),
        # `torch.manual_seed` seeds every GPU, so the states of all are restored.
        torch.random.fork_rng(range(torch.cuda.device_count()) if cuda else ()),
        torch.inference_mode(False),
        torch.enable_grad(),
        torch.autocast(device.type, enabled=False),
        # The fused attention kernels have no second derivative.
        torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH),
    ):
        try:
            for place, name, value in flags:
                setattr(place, name, value)
            yield
        finally:
            for place, name, value in before:
                setattr(place, name, value)


@contextmanager
def without_cudnn() -> Iterator[None]:
    """Leave out cuDNN meanwhile, as `torch.backends.cudnn.flags` does, which warns in torch 2.9."""
    cudnn: Any = torch.backends.cudnn
    before, cudnn.enabled = cudnn.enabled, False
    try:
        yield
    finally:
        cudnn.enabled = before


def seed_layers(device: torch.device, seed: int) -> None:
    """Seed the random numbers of layers such as dropout; for a model on the CPU, those of the CPU alone.

    Every pass over the data is seeded anew, so that a score does not depend on earlier computations.
    """
    (torch.manual_seed if device.type == "cuda" else torch.default_generator.manual_seed)(seed)
