"""Decoders for text, and the initialization that goes with them."""

import math

import pytest
import torch
from torch.nn import functional as F

from sweep import models
from sweep.errors import BadInput
from sweep.models import decoders


@pytest.fixture(scope="module")
def tiny():
    return models.build("gpt-tiny", (64,), 256, 0, "gpt", dtype=torch.int64)


@pytest.mark.parametrize(("name", "parameters"), [("gpt-tiny", 183_744), ("gpt-mini", 2_755_008)])
def test_sizes_are_as_documented(name, parameters):
    model = models.build(name, (64,), 256, 0, "gpt", dtype=torch.int64)
    assert sum(each.numel() for each in model.parameters()) == parameters


def test_a_score_depends_on_no_later_token(tiny):
    tokens = torch.randint(256, (2, 24), generator=torch.Generator().manual_seed(0))
    changed = tokens.clone()
    changed[:, 10] = (changed[:, 10] + 1) % 256
    before, after = tiny(tokens), tiny(changed)
    assert before.shape == (2, 256, 24)
    assert torch.equal(before[..., :10], after[..., :10])
    assert not torch.allclose(before[..., 10:], after[..., 10:])


def test_rotary_attention_is_that_of_complex_numbers():
    """Su et al. 2021, equation 14: the score of two positions depends on their distance alone."""
    turns = decoders.rotations(9, 8, torch.zeros(()))
    query, key = torch.randn(2, 8, generator=torch.Generator().manual_seed(1))
    turned = [decoders._turned(each.expand(1, 1, 9, 8), turns)[0, 0] for each in (query, key)]
    scores = turned[0] @ turned[1].T
    complexes = [torch.complex(each[:4], each[4:]) for each in (query, key)]
    rates = decoders._BASE ** -(torch.arange(0, 8, 2) / 8)
    for at in range(9):
        for other in range(9):
            turn = torch.exp(1j * rates * (at - other))
            expected = (complexes[0] * complexes[1].conj() * turn).sum().real
            torch.testing.assert_close(scores[at, other], expected, atol=1e-5, rtol=1e-5)


def test_the_feedforward_is_swiglu(tiny):
    part, hidden = tiny.blocks[0].feedforward, torch.randn(3, 5, 64)
    gate = hidden @ part.gate.weight.T
    expected = (gate * gate.sigmoid() * (hidden @ part.up.weight.T)) @ part.down.weight.T
    torch.testing.assert_close(part(hidden), expected)


def test_the_initialization_divides_the_ends_of_branches_by_the_root_of_their_number(tiny):
    wide, ends = 0.02, 0.02 / math.sqrt(6)
    for name, weight in tiny.named_parameters():
        if weight.dim() == 2:
            expected = ends if name.endswith(("o.weight", "down.weight")) else wide
            assert weight.std().item() == pytest.approx(expected, rel=0.05), name


def test_other_initializations_leave_the_embedding_as_torch_draws_it():
    model = models.build("gpt-tiny", (64,), 256, 0, "kaiming", dtype=torch.int64)
    assert model.embedding.weight.std().item() == pytest.approx(1, rel=0.05)


def test_an_untrained_network_guesses_uniformly(tiny):
    tokens = torch.randint(256, (4, 65), generator=torch.Generator().manual_seed(2))
    loss = F.cross_entropy(tiny(tokens[:, :-1]), tokens[:, 1:])
    assert loss.item() == pytest.approx(math.log(256), abs=0.1)


@pytest.mark.parametrize(
    ("shape", "dtype"), [((1, 8, 8), torch.float32), ((64,), torch.float32), ((), torch.int64)]
)
def test_inputs_that_are_no_tokens_are_refused_in_one_line(shape, dtype):
    with pytest.raises(BadInput, match="gpt-tiny needs tokens"):
        models.check("gpt-tiny", shape, dtype)


def test_networks_of_images_refuse_tokens():
    with pytest.raises(BadInput, match="lenet-300-100 needs real numbers"):
        models.check("lenet-300-100", (64,), torch.int64)
