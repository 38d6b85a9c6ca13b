"""The densities of scopes that ask the network equal direct computation in float64."""

from zlib import crc32

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import pruners
from pruners.budgets import dealt
from tests.pruners.transformer_nets import BLOCKS, batches, decoder, seen

EXCLUDE = "head.*"
NAMES = list(pruners.prunable(decoder(), EXCLUDE))


def asked(scope, sparsity=0.6, model=None, seed=5, **more):
    model = model or decoder()
    weights = pruners.prunable(model, EXCLUDE)
    return pruners.asked_densities(
        scope, model, weights, batches(), loss=F.cross_entropy, seed=seed, sparsity=sparsity, **more
    )


def outlying():
    """A decoder of which each block has some weights that are far larger than the others."""
    model = decoder()
    with torch.no_grad():
        for number, block in enumerate(model.blocks):
            block.feedforward.down.weight[:, : number + 1] *= 30
    return model


def test_owl_scales_the_shares_of_outliers_to_a_range_around_the_density():
    model, shares = outlying(), []
    for number in range(BLOCKS):
        inside = [name for name in NAMES if name.startswith(f"blocks.{number}.")]
        paths = [name.removesuffix(".weight") for name in inside]
        inputs = seen(model, paths, batches())
        scores = torch.cat(
            [
                (
                    model.get_submodule(path).weight.detach().abs()
                    * inputs[path][0].flatten(0, 1).norm(dim=0)
                ).flatten()
                for path in paths
            ]
        )
        shares.append(float((scores > 5 * scores.mean()).double().mean()))
    low, high = min(shares), max(shares)
    assert high > low
    scaled = [(share - low) / (high - low) * 0.16 for share in shares]
    expected = [each - sum(scaled) / BLOCKS + 0.4 for each in scaled]
    found = asked("owl", model=model)
    for name in NAMES:
        assert found[name] == pytest.approx(expected[int(name.split(".")[1])])


def test_block_influence_adds_up_over_prunes():
    """s_b += Δ − 0.03·I_b, within 0 and 0.99: I is the same each time, as the network is."""
    first = asked("block-influence", sparsity=0.2)
    shifts = {name: each - 0.8 for name, each in first.items()}
    assert max(map(abs, shifts.values())) == pytest.approx(0.03)
    second = asked("block-influence", sparsity=0.5, last=(0.8, first))
    for name in NAMES:
        assert second[name] == pytest.approx(0.5 + 2 * shifts[name], abs=1e-9)
    third = asked("block-influence", sparsity=0.6, last=(0.5, second | dict.fromkeys(NAMES, 0.1)))
    for name in NAMES:
        assert third[name] == pytest.approx(max(0.01, 0.1 - 0.1 + shifts[name]), abs=1e-9)
    assert asked("block-influence", sparsity=0.2, last=(1.0, {})) == first


def test_block_influence_takes_from_blocks_that_change_little():
    cosines = []
    for number in range(BLOCKS):
        first, last = seen(decoder(), [f"blocks.{number}"], batches())[f"blocks.{number}"]
        cosines.append(float(F.cosine_similarity(first, last, -1).mean()))
    influence = [sum(cosines) / BLOCKS - each for each in cosines]
    largest = max(map(abs, influence))
    found = asked("block-influence")
    for name in NAMES:
        sparsity = 0.6 - 0.03 * influence[int(name.split(".")[1])] / largest
        assert found[name] == pytest.approx(1 - sparsity)


def test_ecoflap_deals_kept_weights_by_the_slope_of_the_loss_along_one_draw_a_matrix():
    model, importance = decoder(), {}
    for name in NAMES:
        weight = model.get_parameter(name)
        z = torch.randn(weight.shape, generator=torch.Generator().manual_seed(crc32(f"5/{name}".encode())))
        before, total = weight.detach().clone(), 0.0
        for inputs, targets in batches():
            losses = []
            for sign in (1, -1):
                with torch.no_grad():
                    weight.copy_(before + sign * 1e-3 * z)
                    losses.append(float(F.cross_entropy(model(inputs), targets)))
            total += abs(losses[0] - losses[1]) / 2e-3
        with torch.no_grad():
            weight.copy_(before)
        importance[name] = total
    sizes = {name: model.get_parameter(name).numel() for name in NAMES}
    floor, kept = 0.2, 0.4 * sum(sizes.values())
    left = kept - floor * sum(sizes.values())
    expected = {n: floor * sizes[n] + left * importance[n] / sum(importance.values()) for n in NAMES}
    found = asked("ecoflap")
    assert all(expected[name] <= sizes[name] for name in NAMES), "here no matrix is full"
    assert found == pytest.approx({name: expected[name] / sizes[name] for name in NAMES})
    assert sum(found[name] * sizes[name] for name in NAMES) == pytest.approx(kept)
    assert all(floor <= found[name] <= 1 for name in NAMES)
    assert asked("ecoflap") == found and asked("ecoflap", seed=6) != found


def test_what_one_has_no_room_for_the_others_get_in_proportion():
    found = dealt({"a": 8.0, "b": 1.0, "c": 1.0}, {"a": 10, "b": 100, "c": 100}, 60, 0.1)
    # 21 are the floor. Of 39 more `a` would get 31.2 and takes 9; the others share 30.
    assert found == pytest.approx({"a": 10, "b": 25, "c": 25})
    assert dealt({"a": 0.0, "b": 0.0}, {"a": 10, "b": 30}, 20, 0.25) == pytest.approx({"a": 5, "b": 15})


@pytest.mark.parametrize("scope", pruners.BUDGETS)
def test_masks_have_the_asked_densities_and_the_exact_count(scope):
    model, densities = decoder(), asked(scope, seed=0)
    masks = pruners.prune("magnitude", model, batches(), sparsity=0.6, scope=scope, exclude=EXCLUDE)
    again = pruners.prune("magnitude", model, sparsity=0.6, scope=densities, exclude=EXCLUDE)
    assert all(torch.equal(masks[name], again[name]) for name in NAMES)
    total = sum(mask.numel() for mask in masks.values())
    assert sum(int(mask.sum()) for mask in masks.values()) == round(0.4 * total)


@pytest.mark.parametrize("structure", ["head", "neuron", "head+neuron"])
def test_block_influence_spreads_units_too(structure):
    masks = pruners.prune(
        "magnitude", decoder(), batches(), sparsity=0.5, scope="block-influence", structure=structure
    )
    assert any(mask.any() for mask in masks.values())


@pytest.mark.parametrize("scope", ["owl", "ecoflap"])
def test_a_scope_of_weights_is_refused_for_units(scope):
    with pytest.raises(
        ValueError, match=f"scope {scope} with structure head: take global, uniform or block-inf"
    ):
        pruners.prune("magnitude", decoder(), batches(), sparsity=0.5, scope=scope, structure="head")


def test_a_network_without_blocks_is_refused_where_blocks_decide():
    model, batch = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 3)), (torch.randn(5, 4), torch.arange(5) % 3)
    with pytest.raises(ValueError, match="Sequential has no residual blocks"):
        pruners.prune("magnitude", model, [batch], sparsity=0.5, scope="block-influence")
    # OWL takes each of its layers as a block.
    masks = pruners.prune("magnitude", model, [batch], sparsity=0.5, scope="owl")
    assert sum(int(mask.sum()) for mask in masks.values()) == 14


@pytest.mark.parametrize("scope", pruners.BUDGETS)
def test_a_scope_that_asks_the_network_says_that_it_needs_batches(scope):
    with pytest.raises(ValueError, match="there are no batches to score with"):
        pruners.prune("magnitude", decoder(), sparsity=0.5, scope=scope)
