"""Decoders for text: small networks of the form of Llama (Touvron et al. 2023)."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sweep.data import Shape

_BASE = 10_000.0  # of the wavelengths of rotary embeddings (Su et al. 2021)
_EPS = 1e-5


class BranchEnd(nn.Linear):
    """The last layer of a residual branch, without biases."""

    def __init__(self, inputs: int, outputs: int, branches: int) -> None:
        """A layer of a network that adds so many branches."""
        super().__init__(inputs, outputs, bias=False)
        self.branches = branches


class Attention(nn.Module):
    """Causal attention of several heads with rotary positions. Each projection is a linear layer."""

    def __init__(self, width: int, heads: int, branches: int) -> None:
        super().__init__()
        self.heads = heads
        self.q, self.k, self.v = (nn.Linear(width, width, bias=False) for _ in range(3))
        self.o = BranchEnd(width, width, branches)

    def forward(self, hidden: Tensor, turns: Tensor) -> Tensor:
        """Hidden states (N, T, width) and the turns of `rotations` → (N, T, width)."""
        q, k, v = (
            each(hidden).unflatten(2, (self.heads, -1)).transpose(1, 2) for each in (self.q, self.k, self.v)
        )
        mixed = F.scaled_dot_product_attention(_turned(q, turns), _turned(k, turns), v, is_causal=True)
        out: Tensor = self.o(mixed.transpose(1, 2).flatten(2))
        return out


class Feedforward(nn.Module):
    """SwiGLU (Shazeer 2020): down(silu(gate(x)) · up(x))."""

    def __init__(self, width: int, neurons: int, branches: int) -> None:
        super().__init__()
        self.gate, self.up = (nn.Linear(width, neurons, bias=False) for _ in range(2))
        self.down = BranchEnd(neurons, width, branches)

    def forward(self, hidden: Tensor) -> Tensor:
        """Hidden states (N, T, width) → (N, T, width)."""
        out: Tensor = self.down(F.silu(self.gate(hidden)) * self.up(hidden))
        return out


class Block(nn.Module):
    """Attention and feedforward, each behind a normalization and beside the identity."""

    def __init__(self, width: int, heads: int, neurons: int, branches: int) -> None:
        super().__init__()
        self.attention_norm, self.feedforward_norm = (nn.RMSNorm(width, eps=_EPS) for _ in range(2))
        self.attention = Attention(width, heads, branches)
        self.feedforward = Feedforward(width, neurons, branches)

    def forward(self, hidden: Tensor, turns: Tensor) -> Tensor:
        """Hidden states (N, T, width) → (N, T, width)."""
        hidden = hidden + self.attention(self.attention_norm(hidden), turns)
        out: Tensor = hidden + self.feedforward(self.feedforward_norm(hidden))
        return out


class Decoder(nn.Module):
    """A decoder that scores the token after each token of a window.

    The head has weights of its own, so that the embedding is no matrix of the head, and is not pruned.
    """

    def __init__(self, tokens: int, blocks: int, width: int, heads: int, neurons: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(tokens, width)
        self.blocks = nn.ModuleList(Block(width, heads, neurons, 2 * blocks) for _ in range(blocks))
        self.norm = nn.RMSNorm(width, eps=_EPS)
        self.head = nn.Linear(width, tokens, bias=False)
        self.head_width = width // heads

    def forward(self, tokens: Tensor) -> Tensor:
        """Tokens (N, T) → scores of the tokens that follow, (N, tokens, T)."""
        hidden = self.embedding(tokens)
        turns = rotations(tokens.shape[1], self.head_width, hidden)
        for block in self.blocks:
            hidden = block(hidden, turns)
        scores: Tensor = self.head(self.norm(hidden))
        return scores.transpose(1, 2)


def rotations(length: int, width: int, like: Tensor) -> Tensor:
    """Cosines and sines (2, length, width/2) of the positions of a window, by which pairs of numbers turn."""
    shares = torch.arange(0, width, 2, device=like.device, dtype=torch.float32) / width
    angles = torch.arange(length, device=like.device, dtype=torch.float32)[:, None] * _BASE**-shares
    return torch.stack([angles.cos(), angles.sin()]).to(like.dtype)


def _turned(heads: Tensor, turns: Tensor) -> Tensor:
    """Queries or keys (N, heads, T, width), each pair of numbers turned by its position's angle."""
    first, second = heads.chunk(2, dim=-1)
    cosine, sine = turns.unbind(0)
    return torch.cat([first * cosine - second * sine, second * cosine + first * sine], -1)


def gpt_tiny(shape: Shape, classes: int) -> nn.Module:
    """3 blocks of width 64 with 4 heads and 176 neurons; 183,744 parameters for bytes."""
    return Decoder(classes, 3, 64, 4, 176)


def gpt_mini(shape: Shape, classes: int) -> nn.Module:
    """6 blocks of width 192 with 6 heads and 512 neurons; 2,755,008 parameters for bytes."""
    return Decoder(classes, 6, 192, 6, 512)
