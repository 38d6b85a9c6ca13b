"""Attention that has lost heads, which torch's own cannot express."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class NarrowAttention(nn.MultiheadAttention):
    """`nn.MultiheadAttention` that has lost heads: the others keep their width.

    Its `in_proj_weight` is (3 · heads · width, E) and its `out_proj.weight` (E, heads · width).
    """

    def forward(
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
        if self.in_proj_weight is None:
            weights = (self.q_proj_weight, self.k_proj_weight, self.v_proj_weight)
        else:
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
