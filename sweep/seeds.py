"""Random streams: each trial has one root seed, and each use of randomness a named stream derived from it."""

import hashlib

import torch


def derive(root: int, *stream: str | int) -> int:
    """A 63-bit seed for the named stream of `root`, the same on every machine."""
    text = "/".join(map(str, (root, *stream)))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8]) >> 1


def generator(root: int, *stream: str | int) -> torch.Generator:
    """A CPU generator for the named stream of `root`."""
    return torch.Generator().manual_seed(derive(root, *stream))
