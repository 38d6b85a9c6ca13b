"""Attention that has lost heads, which torch's own cannot express."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_OPTIONS = ("key_padding_mask", "need_weights", "attn_mask", "average_attn_weights", "is_causal")


class NarrowAttention(nn.MultiheadAttention):
    """`nn.MultiheadAttention` that has lost heads: the others keep their width.

    Its `in_proj_weight` is (3 · heads · width, E) and its `out_proj.weight` (E, heads · width).
    """

    def forward(
        self, query: Tensor, key: Tensor, value: Tensor, *args: Any, **options: Any
    ) -> tuple[Tensor, Tensor | None]:
        """As `nn.MultiheadAttention`; a causal mask is given as `attn_mask`, as it asks for too.

        Raises:
            ValueError: inputs without a dimension of batches.
        """
        if query.dim() != 3:
            raise ValueError(f"narrowed attention takes (N, L, E), and the queries are {tuple(query.shape)}")
        given = dict(zip(_OPTIONS, args, strict=False)) | options
        if not self.batch_first:
            query, key, value = (each.transpose(0, 1) for each in (query, key, value))
        if self.in_proj_weight is None:
            weights = (self.q_proj_weight, self.k_proj_weight, self.v_proj_weight)
        else:
            weights = self.in_proj_weight.chunk(3)
        biases = self.in_proj_bias.chunk(3) if self.in_proj_bias is not None else (None,) * 3
        parts = zip((query, key, value), weights, biases, strict=True)
        q, k, v = (F.linear(*part).unflatten(-1, (self.num_heads, -1)).transpose(1, 2) for part in parts)
        mask = _mask(given.get("attn_mask"), given.get("key_padding_mask"), q)
        rate = self.dropout if self.training else 0.0
        seen = None
        if given.get("need_weights", True):
            scores = q @ k.transpose(-1, -2) * q.shape[-1] ** -0.5
            shares = (scores if mask is None else scores + mask).softmax(-1)
            attended = F.dropout(shares, rate, self.training) @ v
            seen = shares.mean(1) if given.get("average_attn_weights", True) else shares
        else:
            attended = F.scaled_dot_product_attention(q, k, v, mask, rate)
        outputs = self.out_proj(attended.transpose(1, 2).flatten(2))
        return outputs if self.batch_first else outputs.transpose(0, 1), seen


def _mask(attention: Tensor | None, padding: Tensor | None, queries: Tensor) -> Tensor | None:
    """What is added to the scores, (N or 1, heads or 1, L or 1, S)."""
    mask = None if attention is None else _additive(attention, queries)
    if mask is not None and mask.dim() == 3:
        mask = mask.unflatten(0, (len(queries), -1))
    if padding is None:
        return mask
    padded = _additive(padding, queries)[:, None, None]
    return padded if mask is None else mask + padded


def _additive(mask: Tensor, like: Tensor) -> Tensor:
    """A mask that is added to scores; boolean ones are True where nothing is read."""
    if mask.dtype != torch.bool:
        return mask
    return torch.zeros(mask.shape, dtype=like.dtype, device=like.device).masked_fill(mask, -torch.inf)
