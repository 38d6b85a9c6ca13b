"""What makes up for removed weights: on whole networks, against direct computation."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import pruners
from pruners import compensation, inputs
from pruners.forward import HighestPrecision
from sweep.models.decoders import Decoder


class TwoConvolutions(nn.Module):
    """Strided, padded and grouped convolutions, and a head."""

    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(4, 8, 3, padding=1, bias=False)
        self.second = nn.Conv2d(8, 6, 3, stride=2, padding=1, groups=2)
        self.head = nn.Linear(6, 5)

    def forward(self, images):
        return self.head(self.second(self.first(images).relu()).relu().mean((2, 3)))


def network(seed=0):
    torch.manual_seed(seed)
    return TwoConvolutions().double()


def images(seed=1):
    torch.manual_seed(seed)
    values = torch.randn(16, 4, 6, 6, dtype=torch.float64) * torch.tensor([1.0, 2, 0.5, 1])[:, None, None]
    return [(values + 0.3, torch.randint(5, (16,)))]


def half(model, seed=2):
    return pruners.prune("random", model, sparsity=0.5, scope="uniform", seed=seed)


def put_on(model, new, masks):
    changed = copy.deepcopy(model)
    compensation.put(changed, new)
    pruners.apply_masks(changed, masks)
    return changed


def inputs_of(model, name, values):
    """The inputs that a layer sees, and the rows of patches (groups, positions, inputs) of a convolution."""
    seen = []
    layer = model.get_submodule(name)
    handle = layer.register_forward_pre_hook(lambda module, given: seen.append(given[0].detach()))
    model(values)
    handle.remove()
    return seen[0]


@pytest.mark.parametrize("name", ["obs", "bias", "reconstruct"])
def test_the_model_stays_as_it_is_and_new_weights_have_its_masks(name):
    model, batches = network(), images()
    before, masks = copy.deepcopy(model.state_dict()), half(network())
    new = pruners.compensated(name, model, masks, batches)
    after = model.state_dict()
    assert before.keys() == after.keys() and all(torch.equal(before[each], after[each]) for each in before)
    assert model.training and model.first.bias is None
    assert all(not new[each][~mask].any() for each, mask in masks.items())
    assert {each: value.dtype for each, value in new.items()} == dict.fromkeys(new, torch.float64)


@pytest.mark.parametrize("name", ["obs", "bias", "reconstruct"])
def test_the_error_of_each_layer_on_the_inputs_that_it_has_is_never_higher(name):
    model, batches, masks = network(), images(), half(network())
    new = pruners.compensated(name, model, masks, batches)
    now = put_on(model, new, masks)
    plain = put_on(model, {}, masks)
    for layer in ("first", "second", "head"):
        given = inputs_of(now, layer, batches[0][0])
        dense, own = model.get_submodule(layer)(given), now.get_submodule(layer)(given)
        masked = plain.get_submodule(layer)(given)
        assert (own - dense).square().sum() < (masked - dense).square().sum()


def test_a_convolution_is_updated_as_the_linear_layer_of_its_patches():
    model, batches, masks = network(), images(), half(network())
    new = pruners.compensated("obs", model, masks, batches)["first.weight"]
    rows = F.unfold(batches[0][0], 3, padding=1).transpose(1, 2).reshape(-1, 36)  # channels, then the kernel
    order = torch.arange(36).view(4, 9).T.flatten()  # the kernel, then channels: the order of the columns
    linear = nn.Linear(36, 8, bias=False).double()
    with torch.no_grad():
        linear.weight.copy_(model.first.weight.flatten(1)[:, order])
    own = {"weight": masks["first.weight"].flatten(1)[:, order]}
    expected = pruners.compensated("obs", linear, own, [(rows[:, order], rows[:, 0])])["weight"]
    torch.testing.assert_close(new.flatten(1)[:, order], expected, rtol=1e-7, atol=1e-10)


def test_biases_get_what_removed_weights_give_for_the_mean_input_and_layers_without_one_get_it():
    model, batches, masks = network(), images(), half(network())
    masks["head.weight"][0] = False  # an output that is removed as a whole
    new = pruners.compensated("bias", model, masks, batches)
    now = put_on(model, new, masks)
    assert new["first.bias"].shape == (8,) and now.first.bias.requires_grad
    lost = model.first.weight * ~masks["first.weight"]
    removed = F.conv2d(batches[0][0], lost, padding=1).mean((0, 2, 3))
    torch.testing.assert_close(new["first.bias"], removed.detach())
    given = inputs_of(now, "head", batches[0][0]).mean(0)
    added = (model.head.weight * ~masks["head.weight"]) @ given
    added[0] = 0
    torch.testing.assert_close(new["head.bias"], (model.head.bias + added).detach())


def test_a_block_is_reconstructed_from_the_outputs_of_the_dense_one():
    torch.manual_seed(0)
    model = Decoder(16, 2, 16, 2, 24).double()
    tokens = torch.randint(16, (40, 12))
    masks = pruners.prune("magnitude", model, sparsity=0.6, scope="uniform", exclude=["head.*"])
    now = put_on(model, pruners.compensated("reconstruct", model, masks, [(tokens, tokens)]), masks)
    plain = put_on(model, {}, masks)

    def error(other):
        wanted, own = [], []
        for net, kept in ((model, wanted), (other, own)):
            handle = net.blocks[1].register_forward_hook(
                lambda module, given, out, kept=kept: kept.append(out)
            )
            net(tokens)
            handle.remove()
        return (wanted[0] - own[0]).square().mean()

    assert error(now) < 0.5 * error(plain)


def test_all_batches_count_alike_however_they_are_cut():
    model, [(values, targets)], masks = network(), images(), half(network())
    cut = [(values[:5], targets[:5]), (values[5:], targets[5:])]
    for name in ("obs", "bias"):
        whole = pruners.compensated(name, model, masks, [(values, targets)])
        for each, value in pruners.compensated(name, model, masks, iter(cut)).items():
            torch.testing.assert_close(value, whole[each])


def test_a_kept_layer_stays_as_it_is():
    model, batches = network(), images()
    masks = {
        name: torch.ones_like(weight, dtype=torch.bool) for name, weight in pruners.prunable(model).items()
    }
    for name, value in pruners.compensated("obs", model, masks, batches).items():
        assert torch.equal(value, model.get_parameter(name))


class Recurrent(nn.Module):
    def __init__(self):
        super().__init__()
        self.lstm, self.head = nn.LSTM(4, 3, batch_first=True), nn.Linear(3, 2)

    def forward(self, rows):
        return self.head(self.lstm(rows)[0][:, -1])


def test_all_steps_of_a_recurrent_layer_count_and_its_biases_are_not_taken():
    torch.manual_seed(0)
    model = Recurrent()
    masks, batches = half(model), [(torch.randn(20, 6, 4), torch.randint(2, (20,)))]
    new = pruners.compensated("obs", model, masks, batches)
    assert all(not new[name][~mask].any() for name, mask in masks.items())
    with pytest.raises(ValueError, match=r"layer lstm\.weight_ih_l0 of LSTM has no bias of its own: exclude"):
        pruners.compensated("bias", model, masks, batches)


class Casting(nn.Module):
    """Two layers in half precision, each of which casts what it is given."""

    def __init__(self, kind):
        super().__init__()
        self.kind, self.first, self.second = kind, nn.Linear(6, 8), nn.Linear(8, 4, bias=False)
        self.to(kind)

    def forward(self, inputs):
        return self.second(self.first(inputs.to(self.kind)).relu().to(self.kind))


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("name", [name for name in pruners.COMPENSATIONS if name != "none"])
def test_a_network_that_casts_is_compensated_in_the_precision_of_scoring(name, kind):
    torch.manual_seed(0)
    model, plain = Casting(kind), Casting(torch.float32)
    plain.load_state_dict(model.state_dict())
    batches = [(torch.randn(40, 6).to(kind), torch.zeros(40, dtype=torch.long))]
    masks = pruners.prune("magnitude", plain, sparsity=0.5, scope="uniform")
    found = pruners.compensated(name, model, masks, batches)
    expected = pruners.compensated(name, plain, masks, [(batches[0][0].float(), batches[0][1])])
    assert found.keys() == expected.keys() and masks.keys() <= found.keys()
    for layer, value in found.items():
        assert value.dtype == kind
        scale = float(expected[layer].abs().max())
        torch.testing.assert_close(value.float(), expected[layer], rtol=0, atol=0.02 * scale)


def test_inputs_of_a_call_that_is_made_again_in_one_precision_count_once():
    """The precision context lies within, as criteria have it: each mixed call is seen twice."""

    class Within(Casting):
        def forward(self, inputs):
            with HighestPrecision():
                return super().forward(inputs)

    model = Within(torch.float16)
    weights = {name: p.detach().float() for name, p in model.named_parameters()}
    batches = [(torch.ones(5, 6), torch.zeros(5, dtype=torch.long))] * 2
    [found] = inputs.inputs_of(model, weights, batches, ["first.weight"]).values()
    assert found.count == 10 and found.total.tolist() == [[10.0] * 6]


class Turned(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, 4, bias=False)

    def forward(self, values):
        return values @ self.layer.weight


def test_a_weight_that_is_used_otherwise_and_no_batches_are_one_line():
    model, values = Turned(), torch.randn(5, 4)
    masks = half(model)
    with pytest.raises(
        ValueError, match=r"layer layer\.weight is no whole matrix of a linear map .*: exclude"
    ):
        pruners.compensated("obs", model, masks, [(values, values)])
    with pytest.raises(ValueError, match="no batches to score with"):
        pruners.compensated("obs", network(), half(network()), [])


def test_the_weights_of_the_own_mask_of_sparsegpt_are_those_of_its_update():
    torch.manual_seed(0)
    model, tokens = Decoder(16, 2, 16, 2, 24), torch.randint(16, (10, 12))
    for scope in ("uniform", "erk", "2:4"):
        step = pruners.obs_step(model, [(tokens, tokens)], sparsity=0.5, scope=scope, exclude=["head.*"])
        kept = sum(int(mask.sum()) for mask in step.masks.values())
        assert kept == sum(mask.numel() for mask in step.masks.values()) // 2
        new = pruners.compensated("obs", model, step.masks, [(tokens, tokens)])
        assert all(torch.equal(new[name], step.weights[name]) for name in step.masks)


def test_a_scope_that_ranks_layers_together_and_inputs_that_have_no_pattern_are_one_line():
    model, batches = network(), images()
    with pytest.raises(ValueError, match="obs chooses layer by layer: take scope uniform"):
        pruners.obs_step(model, batches, sparsity=0.5, scope="global")
    with pytest.raises(ValueError, match=r"layer head\.weight has 6 inputs, no multiple of 4: exclude it"):
        pruners.obs_step(model, batches, sparsity=0.5, scope="2:4")
