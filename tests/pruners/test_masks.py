import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn.utils import parametrizations, parametrize, prune

import pruners
import pruners.interop
from pruners.ranking import select
from pruners.scopes import SCOPES


@pytest.mark.parametrize(
    ("total", "sparsity", "kept"),
    [
        (1000, 0.9, 100),  # floating point: int((1 - 0.9) * 1000) is 99
        (1000, 0.8, 200),
        (266_200, 0.9, 26_620),
        (430_500, 0.99, 4_305),
        (10, 0.999, 1),  # never nothing
        (10, 0, 10),
        (10, "0.25", 8),  # 7.5: half to even
        (10, 0.35, 6),  # 6.5: half to even
    ],
)
def test_kept_count_takes_sparsity_as_the_decimal_that_was_written(total, sparsity, kept):
    assert pruners.kept_count(total, sparsity) == kept


@pytest.mark.parametrize("sparsity", [1, 1.2, -0.1])
def test_impossible_sparsity_is_refused(sparsity):
    with pytest.raises(ValueError, match="outside"):
        pruners.kept_count(10, sparsity)


@given(st.lists(st.integers(0, 3), min_size=1, max_size=60), st.data())
def test_keep_top_keeps_exactly_the_best_with_ties_to_the_lower_index(values, data):
    count = data.draw(st.integers(0, len(values)))
    mask = pruners.keep_top(torch.tensor(values, dtype=torch.float32), count)
    by_hand = sorted(range(len(values)), key=lambda i: (-values[i], i))[:count]
    assert mask.nonzero().flatten().tolist() == sorted(by_hand)


def test_apply_masks_leaves_plain_zeros_even_where_weights_are_negative_or_not_finite():
    model = nn.Linear(3, 1, bias=False)
    with torch.no_grad():
        model.weight.copy_(torch.tensor([[-1.0, float("nan"), 2.0]]))
    pruners.apply_masks(model, {"weight": torch.tensor([[False, False, True]])})
    assert str(model.weight.tolist()) == "[[0.0, 0.0, 2.0]]"


def test_a_network_made_in_inference_mode_is_written_to_there_alone():
    with torch.inference_mode():
        model = nn.Linear(3, 1, bias=False)
    mask = {"weight": torch.tensor([[False, True, True]])}
    for write in (lambda: pruners.apply_masks(model, mask), lambda: pruners.reinitialize(model)):
        with pytest.raises(ValueError, match="weight was made in inference mode: write to it there"):
            write()
    pruners.reinitialize(nn.LazyLinear(3))  # has nothing yet that could be written to
    with torch.inference_mode():
        pruners.apply_masks(model, mask)
    assert model.weight[0, 0] == 0 and model.weight[0, 1:].all()


def test_a_mask_that_fits_no_parameter_is_refused():
    with pytest.raises(ValueError, match=r"mask weight \(2, 2\)"):
        pruners.apply_masks(nn.Linear(3, 1), {"weight": torch.ones(2, 2, dtype=torch.bool)})


def test_prunable_are_weights_of_layers_in_order_without_biases_and_normalization():
    model = nn.ModuleDict(
        {
            "c": nn.Conv1d(2, 3, 3),
            "n": nn.BatchNorm1d(3),
            "r": nn.LSTM(3, 4),
            "f": nn.Linear(4, 2),
        }
    )
    assert list(pruners.prunable(model)) == ["c.weight", "r.weight_ih_l0", "r.weight_hh_l0", "f.weight"]
    assert list(pruners.prunable(model, exclude=["r.*"])) == ["c.weight", "f.weight"]
    with pytest.raises(ValueError, match="matches no prunable weight"):
        pruners.prunable(model, exclude=["fc.*"])


def buffered(layer):
    weight = layer.weight.detach()
    del layer.weight
    layer.register_buffer("weight", weight)
    return layer


def clipped(layer):
    """A parametrization of somebody's own."""
    parametrize.register_parametrization(layer, "weight", nn.Hardtanh())
    return layer


class Quantized(nn.Module):
    def weight(self):
        return torch.zeros(8, 3, 3, 3)


NO_PARAMETER = {
    "weight_norm as a hook": nn.utils.weight_norm,
    "weight_norm": parametrizations.weight_norm,
    "spectral_norm as a hook": nn.utils.spectral_norm,
    "spectral_norm": parametrizations.spectral_norm,
    "orthogonal": parametrizations.orthogonal,
    "a parametrization": clipped,
    "torch.nn.utils.prune": lambda layer: prune.l1_unstructured(layer, "weight", 0.1),
    "to_torch_prune": lambda layer: pruners.interop.to_torch_prune(
        layer, pruners.prune("magnitude", layer, sparsity=0.1)
    ),
    "a buffer": buffered,
    "TorchScript": torch.jit.script,
    "a method, as of quantized layers": lambda layer: Quantized(),
}


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")
@pytest.mark.parametrize("change", NO_PARAMETER)
def test_a_layer_whose_weight_is_no_parameter_is_refused_by_name_and_never_left_out(change):
    """It would stay dense while the sparsity said of the network is that of the other layers."""
    model = nn.Sequential(NO_PARAMETER[change](nn.Conv2d(3, 8, 3)), nn.Flatten(), nn.Linear(8, 4))
    example = torch.zeros(2, 3, 3, 3)
    for ask in (
        lambda: pruners.prune("snip", model, [(example, torch.zeros(2).long())], sparsity=0.5),
        lambda: pruners.multiply_adds(model, example),
        lambda: pruners.removable_blocks(model, example),
    ):
        with pytest.raises(ValueError, match=r"0\.weight of Sequential is no parameter .*, or exclude it"):
            ask()
    assert list(pruners.prunable(model, exclude=["0.*"])) == ["2.weight"]


def test_a_matrix_of_a_recurrent_layer_that_is_no_parameter_is_refused_by_name():
    layer = nn.LSTM(3, 4)
    prune.random_unstructured(layer, "weight_hh_l0", 0.5)
    with pytest.raises(ValueError, match="weight_hh_l0 of LSTM is no parameter"):
        pruners.prunable(layer)
    prune.remove(layer, "weight_hh_l0")
    assert set(pruners.prunable(layer)) == {"weight_ih_l0", "weight_hh_l0"}


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize(
    ("layer", "problem"),
    [
        (lambda: nn.LazyLinear(3), "has no shape before the first forward pass"),
        (lambda: nn.LazyConv2d(3, 1), "has no shape before the first forward pass"),
        (lambda: nn.Linear(3, 0), r"is empty, \(0, 3\)"),
        (lambda: nn.Linear(0, 3), r"is empty, \(3, 0\)"),
    ],
)
@pytest.mark.parametrize("scope", pruners.SCOPES)
def test_a_layer_without_weights_is_refused_by_name(layer, problem, scope):
    model = nn.Sequential(nn.Linear(4, 4), layer())
    with pytest.raises(ValueError, match=f"1.weight of Sequential {problem}"):
        pruners.prune("random", model, sparsity=0.5, scope=scope)
    masks = pruners.prune("random", model, sparsity=0.5, exclude="1.*")
    assert kept_of(masks) == 8


def kept_of(masks):
    return sum(int(mask.sum()) for mask in masks.values())


@pytest.mark.parametrize("tie", [lambda w: w, lambda w: w.t(), lambda w: w[1:]])
def test_weights_of_two_names_in_one_memory_are_refused(tie):
    """Masks of the one would be on the other too, and the network sparser than they say."""
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 4))
    model[2].weight = nn.Parameter(tie(model[0].weight.detach()))
    with pytest.raises(ValueError, match=r"2\.weight shares its memory with 0\.weight"):
        pruners.prunable(model)
    model[2].weight = model[0].weight
    assert list(pruners.prunable(model)) == ["0.weight", "1.weight"]


def test_matrices_side_by_side_in_one_memory_are_two():
    """As cuDNN lays those of a recurrent layer, and as a strategy that trains on several GPUs does."""
    both = torch.randn(8, 4)
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    model[0].weight, model[1].weight = nn.Parameter(both[:4]), nn.Parameter(both[4:])
    assert len(pruners.prunable(model)) == 2


def test_a_shared_weight_counts_once():
    layer = nn.Linear(3, 3)
    assert list(pruners.prunable(nn.Sequential(layer, layer))) == ["0.weight"]


def test_collapsed_layers_are_those_without_a_kept_weight():
    masks = {"a": torch.zeros(2, 2, dtype=torch.bool), "b": torch.tensor([True, False])}
    assert pruners.collapsed_layers(masks) == ["a"]
    assert pruners.densities(masks) == {"a": 0.0, "b": 0.5}


def test_shuffling_moves_kept_weights_within_their_layers_only():
    torch.manual_seed(0)
    masks = {name: torch.rand(20, 30) < 0.3 for name in ("a", "b")}
    moved = pruners.shuffle(masks, seed=1)
    for name, mask in masks.items():
        assert moved[name].sum() == mask.sum() and not torch.equal(moved[name], mask)
    assert not torch.equal(pruners.shuffle({"a": masks["a"], "b": masks["a"]}, 1)["b"], moved["a"])
    assert torch.equal(pruners.shuffle({"b": masks["b"]}, 1)["b"], moved["b"])
    assert not torch.equal(pruners.shuffle(masks, seed=2)["a"], moved["a"])


def test_min_per_layer_takes_from_the_lowest_of_the_other_layers():
    scores = {"a": torch.tensor([9.0, 8, 7, 6, 5]), "b": torch.tensor([1.0, 2, 3])}
    [group] = SCOPES["global"]({"a": (5,), "b": (3,)}, 4)
    assert kept(select(scores, [group], [4])) == {"a": [0, 1, 2, 3], "b": []}
    assert kept(select(scores, [group], [4], min_per_layer=2)) == {"a": [0, 1], "b": [1, 2]}
    assert kept(select(scores, [group], [7], min_per_layer=4)) == {"a": [0, 1, 2, 3], "b": [0, 1, 2]}
    with pytest.raises(ValueError, match="min_per_layer 3 keeps more than the 4 weights the sparsity leaves"):
        select(scores, [group], [4], min_per_layer=3)


def test_rowwise_every_row_keeps_as_many_and_the_best_next_ones_what_is_left():
    scores = torch.tensor([[1.0, 5, 3, 3], [9, 8, 7, 6], [0, 0, 0, 0]])
    [group] = SCOPES["rowwise"]({"a": (3, 4)}, 7)
    mask = select({"a": scores}, [group], [7])["a"]
    # Two a row, ties to the lower index; the seventh is the 7 of the second row.
    assert mask.int().tolist() == [[0, 1, 1, 0], [1, 1, 1, 0], [1, 1, 0, 0]]


def kept(masks):
    return {layer: mask.nonzero().flatten().tolist() for layer, mask in masks.items()}


def test_new_weights_depend_on_their_seed_alone_and_leave_the_random_state(conv_net):
    model, _ = conv_net
    before, state = model[0].weight.clone(), torch.get_rng_state()
    pruners.reinitialize(model, seed=1)
    first = model[0].weight.clone()
    assert not torch.equal(first, before) and torch.equal(torch.get_rng_state(), state)
    pruners.reinitialize(model, seed=2)
    assert not torch.equal(model[0].weight, first)
    torch.manual_seed(9)
    pruners.reinitialize(model, seed=1)
    assert torch.equal(model[0].weight, first)

    def ones(module):
        if isinstance(module, torch.nn.Linear):
            torch.nn.init.ones_(module.weight)

    pruners.reinitialize(model, seed=1, init=ones)
    assert torch.equal(model[8].weight, torch.ones(5, 6)) and torch.equal(model[0].weight, first)
