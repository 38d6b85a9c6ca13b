"""One root seed a trial; every use of randomness has a stream of its own, derived from it by name."""

import hashlib

import torch


def derive(root: int, *stream: str | int) -> int:
    """A 63-bit seed for the named stream of `root`, the same on every machine."""
    text = "/".join(map(str, (root, *stream)))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8]) >> 1


def generator(root: int, *stream: str | int) -> torch.Generator:
    """A CPU generator for the named stream of `root`."""
    return torch.Generator().manual_seed(derive(root, *stream))
