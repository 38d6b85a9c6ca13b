from copy import deepcopy

import pytest
import torch
import torch.nn.functional as F
import torchvision
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torchvision.models.resnet import BasicBlock

import pruners
from pruners.coupling import channel_groups
from pruners.narrowing import narrowed
from pruners.units import kept_units, unit_masks
from sweep.models import MODELS, build
from tests.pruners.drawn_nets import KINDS, Drawn
from tests.pruners.unit_nets import (
    NETS,
    Function,
    conv,
    head,
    masked_and_narrowed,
    parameters,
    random_inputs,
    randomized,
    some_removed,
)


@torch.no_grad()
def assert_equal_outputs(first, second, inputs, train=False):
    """Equal but for rounding, relative to the largest output, and not by being constant or not finite."""
    expected, found = (deepcopy(each).train(train)(inputs) for each in (first, second))
    assert expected.isfinite().all() and len(torch.unique(expected)) > 1
    assert (found - expected).abs().max() <= 1e-5 * expected.abs().max()


def assert_narrowing_is_masking(model, inputs, exclude=(), train=True):
    model = randomized(model)
    masked, small, groups, _ = masked_and_narrowed(model, inputs, exclude=exclude)
    assert groups and parameters(small) < parameters(model)
    assert_equal_outputs(masked, small, inputs)
    if train:
        assert_equal_outputs(masked, small, inputs, train=True)
    return groups


@pytest.mark.parametrize("name", NETS)
def test_a_narrowed_network_is_the_masked_one(name):
    model, shape, units = NETS[name]()
    groups = assert_narrowing_is_masking(model, random_inputs(shape))
    assert sum(group.size for group in groups) == units


IMAGE_MODELS = [name for name, model in MODELS.items() if model.inputs != "tokens"]
SMALL = ("lenet-300-100", "lenet-5-caffe", "lenet-5-mini", "conv-5", "resnet-20", "lstm-s", "gru-s")


@pytest.mark.parametrize(
    "name", [each if each in SMALL else pytest.param(each, marks=pytest.mark.slow) for each in IMAGE_MODELS]
)
def test_the_models_of_studies_can_be_narrowed(name):
    shape = (1, 28, 28) if name.startswith(("lenet", "lstm", "gru")) else (3, 32, 32)
    assert_narrowing_is_masking(build(name, shape, 10, seed=0), random_inputs((4, *shape)))


TORCHVISION = (
    "resnet18",
    "resnet50",
    "resnext50_32x4d",
    "densenet121",
    "mobilenet_v2",
    "mobilenet_v3_small",
    "efficientnet_b0",
    "regnet_y_400mf",
    "mnasnet0_5",
    "convnext_tiny",
    "shufflenet_v2_x0_5",
    "squeezenet1_1",
    "googlenet",
)


@pytest.mark.slow
@pytest.mark.parametrize("name", TORCHVISION)
def test_networks_of_torchvision_can_be_narrowed(name):
    options = {"aux_logits": False, "init_weights": False} if name == "googlenet" else {}
    model = torchvision.models.get_model(name, weights=None, num_classes=10, **options)
    for module in model.modules():  # which draw in train mode
        if isinstance(module, nn.Dropout | torchvision.ops.StochasticDepth):
            module.p = 0.0
    assert_narrowing_is_masking(model, random_inputs((4, 3, 64, 64)))


@pytest.mark.slow
def test_vision_transformers_can_be_narrowed():
    model = torchvision.models.VisionTransformer(32, 8, 2, 4, 32, 64, num_classes=5)
    nn.init.normal_(model.heads.head.weight)  # torchvision starts with zeros
    groups = assert_narrowing_is_masking(model, random_inputs((2, 3, 32, 32)))
    # The stream goes through LayerNorm: what is left are heads and hidden units.
    assert [group.size for group in groups] == [4, 64, 4, 64]


@pytest.mark.slow
def test_shifted_windows_keep_their_heads():
    """torchvision computes the width of a head from the width of the stream."""
    model = randomized(
        torchvision.models.SwinTransformer([4, 4], 24, [2, 2], [3, 6], [4, 4], stochastic_depth_prob=0.0)
    )
    inputs = random_inputs((2, 3, 32, 32))
    groups = channel_groups(model, inputs)
    message = r"^layer features.1.0.attn cannot be narrowed: its reshape has .*; exclude features.1.0.attn.qkv.weight, "
    with pytest.raises(ValueError, match=message):
        narrowed(model, groups, some_removed(groups), inputs)
    groups = assert_narrowing_is_masking(model, inputs, exclude=["*.qkv.weight"])
    assert [group.size for group in groups] == [96, 96, 192, 192]


def by_hand(model, name, rows=None, columns=None):
    """Of a layer: the chosen rows and columns of its parameters."""
    found = {}
    layer = model.get_submodule(name)
    for leaf, tensor in [*layer.named_parameters(), *layer.named_buffers()]:
        chosen = tensor if rows is None or not tensor.dim() else tensor[rows]
        found[f"{name}.{leaf}"] = chosen if columns is None or leaf != "weight" else chosen[:, columns]
    return found


def masked_by_hand(model, inputs, kept):
    """The masked network of what is kept of each group, and the narrowed one."""
    groups = channel_groups(model, inputs)
    stay = {group.name: torch.zeros(group.size, dtype=torch.bool) for group in groups}
    assert stay.keys() == kept.keys()
    for name, numbers in kept.items():
        stay[name][numbers] = True
    masked = deepcopy(model)
    pruners.apply_masks(masked, unit_masks(groups, stay, dict(masked.named_parameters())))
    return masked, narrowed(model, groups, stay, inputs)


def assert_rebuilt(model, rebuilt, state, inputs, kept):
    rebuilt.load_state_dict(state)
    masked, small = masked_by_hand(model, inputs, kept)
    assert_equal_outputs(masked, rebuilt, inputs)
    assert {n: t.shape for n, t in small.state_dict().items()} == {
        n: t.shape for n, t in rebuilt.state_dict().items()
    }
    assert all(torch.equal(t, state[n]) for n, t in small.state_dict().items())


def test_a_convolutional_network_rebuilt_narrower_by_hand():
    def network(first, second):
        return nn.Sequential(
            conv(1, first), nn.BatchNorm2d(first), nn.ReLU(), nn.MaxPool2d(2), conv(first, second), nn.Sigmoid(), nn.Flatten(), nn.Linear(9 * second, 3)
        )  # fmt: skip

    model = randomized(network(6, 4))
    a, b = [0, 2, 5], [1, 3]
    flat = [9 * channel + place for channel in b for place in range(9)]
    state = by_hand(model, "0", a) | by_hand(model, "1", a) | by_hand(model, "4", b, a)
    state |= by_hand(model, "7", None, flat)
    inputs = random_inputs((3, 1, 6, 6))
    assert_rebuilt(model, network(3, 2), state, inputs, {"0.weight": a, "4.weight": b})


def test_a_residual_block_with_a_projection_rebuilt_narrower_by_hand():
    def network(stem, inner, outer):
        shortcut = nn.Sequential(nn.Conv2d(stem, outer, 1, 2, bias=False), nn.BatchNorm2d(outer))
        block = BasicBlock(stem, outer, 2, shortcut)
        block.conv1, block.bn1 = conv(stem, inner, stride=2, bias=False), nn.BatchNorm2d(inner)
        block.conv2 = conv(inner, outer, bias=False)
        return nn.Sequential(conv(1, stem), block, head(outer))

    model = randomized(network(5, 4, 6))
    s, i, o = [0, 3], [1, 2], [2, 3, 5]
    parts = [("0", s, None), ("1.conv1", i, s), ("1.bn1", i, None), ("1.conv2", o, i), ("1.bn2", o, None)]
    parts += [("1.downsample.0", o, s), ("1.downsample.1", o, None), ("2.2", None, o)]
    state = {name: tensor for part in parts for name, tensor in by_hand(model, *part).items()}
    kept = {"0.weight": s, "1.conv1.weight": i, "1.conv2.weight": o}
    assert_rebuilt(model, network(2, 2, 3), state, random_inputs((3, 1, 8, 8)), kept)


def test_an_inverted_residual_with_depthwise_convolution_rebuilt_narrower_by_hand():
    def network(width, expanded):
        return Function(
            lambda net, x: net.head(
                (s := net.stem(x)) + net.project(F.relu6(net.depth(F.relu6(net.expand(s)))))
            ),
            stem=conv(1, width),
            expand=conv(width, expanded, 1),
            depth=conv(expanded, expanded, groups=expanded),
            project=conv(expanded, width, 1),
            head=head(width),
        )

    model = randomized(network(4, 6))
    w, e = [1, 2], [0, 4, 5]
    state = by_hand(model, "stem", w) | by_hand(model, "expand", e, w) | by_hand(model, "depth", e)
    state |= by_hand(model, "project", w, e) | by_hand(model, "head.2", None, w)
    kept = {"stem.weight": w, "expand.weight": e}
    assert_rebuilt(model, network(2, 3), state, random_inputs((3, 1, 6, 6)), kept)


@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from(KINDS), st.integers(0, 9), st.integers(0, 9), st.integers(2, 6)), max_size=6
    ),
    st.integers(0, 1000),
)
@pytest.mark.slow
def test_drawn_networks_are_narrowed_to_the_masked_ones(steps, seed):
    torch.manual_seed(seed)
    model, inputs = randomized(Drawn(steps), seed), random_inputs((2, 2, 5, 5))
    masked, small, groups, kept = masked_and_narrowed(model, inputs, seed)
    assert_equal_outputs(masked, small, inputs)
    assert_equal_outputs(masked, small, inputs, train=True)
    masks = unit_masks(groups, kept, dict(model.named_parameters()))
    assert all(torch.equal(kept[name], found) for name, found in kept_units(groups, masks).items())


def test_gradients_of_a_narrowed_network_are_those_of_the_kept_entries():
    """So training the narrowed network is training the masked one."""
    model, shape, _ = NETS["residual"]()
    masked, small, groups, kept = masked_and_narrowed(randomized(model), inputs := random_inputs(shape))
    masks = unit_masks(groups, kept, dict(masked.named_parameters()))
    for each in (masked, small):
        each(inputs).square().sum().backward()
    for name, parameter in small.named_parameters():
        expected = masked.get_parameter(name).grad[masks[name]]
        assert torch.allclose(parameter.grad.flatten(), expected, atol=1e-5), name


def test_the_sizes_of_modules_are_those_of_their_parameters():
    model, shape, _ = NETS["groups and shuffle"]()
    _, small, _, _ = masked_and_narrowed(model, random_inputs(shape), seed=2)
    for module in small.modules():
        if isinstance(module, nn.Conv2d):
            assert module.weight.shape[:2] == (module.out_channels, module.in_channels // module.groups)
        elif isinstance(module, nn.BatchNorm2d):
            assert module.num_features == len(module.weight) == len(module.running_var)
    assert small[4].groups == small[4].in_channels < 27


def test_the_network_itself_and_what_is_shared_stay():
    model, shape, _ = NETS["shared weights"]()
    model.out.bias.requires_grad_(False)
    model.again = model.a
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    _, small, _, _ = masked_and_narrowed(model, random_inputs(shape))
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert small.again.weight is small.a.weight and not small.out.bias.requires_grad


def test_convolutions_stay_in_channels_last():
    model, shape, _ = NETS["plain"]()
    model = model.to(memory_format=torch.channels_last)
    _, small, _, _ = masked_and_narrowed(model, random_inputs(shape))
    assert small[3].weight.is_contiguous(memory_format=torch.channels_last)


def test_an_empty_group_and_wrong_names_and_sizes_are_refused():
    model, shape, _ = NETS["plain"]()
    groups = channel_groups(model, random_inputs(shape))
    with pytest.raises(ValueError, match=r"^0.weight keeps none of its 6 units: keep at least one$"):
        narrowed(model, groups, {"0.weight": torch.zeros(6, dtype=torch.bool)})
    with pytest.raises(ValueError, match=r"^kept\['0.weight'\] is of 5 units and the group has 6$"):
        narrowed(model, groups, {"0.weight": torch.ones(5, dtype=torch.bool)})
    with pytest.raises(ValueError, match=r"^kept names no group: 1.weight$"):
        narrowed(model, groups, {"1.weight": torch.ones(6, dtype=torch.bool)})


def test_a_size_in_forward_is_found_with_an_example():
    model = Function(
        lambda net, x: net.out(net.a(x).view(-1, 6 * 64)), a=conv(3, 6), out=nn.Linear(6 * 64, 2)
    )
    inputs = random_inputs((2, 3, 8, 8))
    groups = channel_groups(model, inputs)
    message = (
        r"^the network's own forward cannot be narrowed: its view has a size of its own .*; exclude a.weight$"
    )
    with pytest.raises(ValueError, match=message):
        narrowed(model, groups, some_removed(groups), inputs)


def test_rounding_in_forward_is_no_difference():
    model = Function(
        lambda net, x: net.out(F.relu(net.a(x)).float() + torch.zeros(1, dtype=torch.float32)),
        a=nn.Linear(16, 60),
        out=nn.Linear(60, 3),
    )
    groups = channel_groups(model, inputs := random_inputs((5, 16)))
    assert narrowed(model, groups, some_removed(groups), inputs).a.out_features < 60


def test_heads_that_forward_counts_itself_are_found_with_an_example():
    """The narrowed network runs, but cuts its features into heads in another way."""

    def attention(net, x):
        parts = [part.unflatten(-1, (2, -1)).transpose(1, 2) for part in net.qkv(x).chunk(3, -1)]
        return net.out(F.scaled_dot_product_attention(*parts).transpose(1, 2).flatten(2))

    model, inputs = (
        Function(attention, qkv=nn.Linear(16, 24), out=nn.Linear(8, 2)),
        random_inputs((2, 10, 16)),
    )
    groups = channel_groups(model, inputs)
    with pytest.raises(ValueError, match=r"computes something else, .*; exclude qkv.weight$"):
        narrowed(model, groups, {"qkv.weight": torch.tensor([True, False])}, inputs)
