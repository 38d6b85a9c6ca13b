from copy import deepcopy

import pytest
import torch
from torch import nn

from pruners.narrow_attention import NarrowAttention

CAUSAL = torch.ones(5, 5).triu(1).bool()
PADDING = torch.arange(5).expand(3, 5) > 3
OPTIONS = {
    "plain": {},
    "without weights": {"need_weights": False},
    "weights of each head": {"average_attn_weights": False},
    "causal": {"attn_mask": CAUSAL, "is_causal": True, "need_weights": False},
    "a mask that is added": {"attn_mask": torch.randn(5, 5, generator=torch.Generator().manual_seed(0))},
    "a mask of each head": {"attn_mask": CAUSAL.expand(12, 5, 5)},
    "padding": {"key_padding_mask": PADDING},
    "padding and a mask": {"key_padding_mask": PADDING, "attn_mask": CAUSAL, "need_weights": False},
}


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize(
    "layer", [{}, {"batch_first": True, "bias": False}, {"kdim": 6, "vdim": 7, "batch_first": True}]
)
def test_with_all_heads_it_is_torchs_own(options, layer):
    torch.manual_seed(0)
    own = nn.MultiheadAttention(8, 4, **layer)
    for parameter in own.parameters():
        nn.init.normal_(parameter)
    narrow = deepcopy(own)
    narrow.__class__ = NarrowAttention
    shape = (3, 5) if own.batch_first else (5, 3)
    inputs = [torch.randn(*shape, width) for width in (8, own.kdim, own.vdim)]
    for expected, found in zip(
        own(*inputs, **OPTIONS[options]), narrow(*inputs, **OPTIONS[options]), strict=True
    ):
        assert (expected is None) == (found is None)
        assert found is None or torch.allclose(found, expected, atol=1e-5)


def test_inputs_without_batches_are_refused():
    layer = nn.MultiheadAttention(8, 4)
    layer.__class__ = NarrowAttention
    with pytest.raises(
        ValueError, match=r"^narrowed attention takes \(N, L, E\), and the queries are \(5, 8\)$"
    ):
        layer(*[torch.zeros(5, 8)] * 3)
