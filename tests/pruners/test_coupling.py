import pytest
import torch
import torch.nn.functional as F
from torch import nn

from pruners.coupling import channel_groups
from tests.pruners.unit_nets import NETS, Function, conv, head, random_inputs


def described(model, *shape, exclude=()):
    """Name → units, and the members of the first unit: parameter, dimension, entries."""
    groups = channel_groups(model, torch.zeros(shape), exclude)
    return {
        group.name: (group.size, [(m.parameter, m.dim, m.index[0].tolist()) for m in group.members])
        for group in groups
    }


def units(model, *shape, exclude=()):
    return {name: size for name, (size, _) in described(model, *shape, exclude=exclude).items()}


def rows(*names):
    return [(name, 0, [0]) for name in names]


def test_a_unit_is_its_row_its_normalization_and_all_columns_that_read_it():
    model = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(4 * 9, 2)
    )
    members = rows("0.weight", "0.bias", "1.weight", "1.bias")
    members += [("5.weight", 1, list(range(9))), *rows("1.running_mean", "1.running_var")]
    assert described(model, 2, 3, 8, 8) == {"0.weight": (4, members)}, "inputs and outputs are no units"
    (group,) = channel_groups(model, torch.zeros(2, 3, 8, 8))
    (columns,) = [member.index for member in group.members if member.parameter == "5.weight"]
    assert columns.tolist() == [list(range(9 * i, 9 * i + 9)) for i in range(4)]


def test_channels_that_are_added_go_together():
    layers = {"stem": nn.Conv2d(1, 4, 3), "inner": nn.Conv2d(4, 6, 1), "outer": nn.Conv2d(6, 4, 1)}
    model = Function(
        lambda net, x: net.head((s := net.stem(x)) + net.outer(F.relu(net.inner(s)))),
        **layers,
        head=nn.Conv2d(4, 2, 1),
    )
    stream = [*rows("stem.weight", "stem.bias"), ("inner.weight", 1, [0])]
    stream += [*rows("outer.weight", "outer.bias"), ("head.weight", 1, [0])]
    inner = [*rows("inner.weight", "inner.bias"), ("outer.weight", 1, [0])]
    assert described(model, 1, 1, 5, 5) == {"stem.weight": (4, stream), "inner.weight": (6, inner)}


def test_a_concatenation_only_moves_columns():
    model = Function(
        lambda net, x: net.c(torch.cat([net.a(x), net.b(x)], 1)), a=conv(1, 3), b=conv(1, 2), c=conv(5, 2)
    )
    found = described(model, 1, 1, 4, 4)
    assert found["a.weight"] == (3, [*rows("a.weight", "a.bias"), ("c.weight", 1, [0])])
    assert found["b.weight"] == (2, [*rows("b.weight", "b.bias"), ("c.weight", 1, [3])])


def test_a_depthwise_convolution_goes_with_its_input():
    model = nn.Sequential(conv(1, 3), conv(3, 6, groups=3), conv(6, 2))
    members = [*rows("0.weight", "0.bias"), ("1.weight", 0, [0, 1]), ("1.bias", 0, [0, 1])]
    assert described(model, 1, 1, 4, 4) == {"0.weight": (3, [*members, ("2.weight", 1, [0, 1])])}


def test_a_grouped_convolution_loses_the_same_channels_in_each_group():
    model = nn.Sequential(conv(1, 6), conv(6, 8, groups=2), conv(8, 2))
    found = described(model, 1, 1, 4, 4)
    first = [("0.weight", 0, [0, 3]), ("0.bias", 0, [0, 3]), ("1.weight", 1, [0])]
    second = [("1.weight", 0, [0, 4]), ("1.bias", 0, [0, 4]), ("2.weight", 1, [0, 4])]
    assert found == {"0.weight": (3, first), "1.weight": (4, second)}


def test_channels_of_a_group_norm_go_together_and_those_of_a_layer_norm_stay():
    grouped = nn.Sequential(conv(1, 6), nn.GroupNorm(3, 6), conv(6, 2))
    size, members = described(grouped, 1, 1, 4, 4)["0.weight"]
    assert size == 3 and ("1.bias", 0, [0, 1]) in members and ("0.weight", 0, [0, 1]) in members
    assert units(nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4), nn.Linear(4, 2)), 1, 3) == {}
    assert units(nn.Sequential(conv(1, 4), nn.GroupNorm(1, 4), conv(4, 2)), 1, 1, 4, 4) == {}


def test_a_head_of_attention_is_one_unit():
    layer = nn.TransformerEncoderLayer(8, 2, 6, batch_first=True)
    found = described(nn.Sequential(layer, nn.Linear(8, 2)), 1, 5, 8)
    head_rows = [*range(0, 4), *range(8, 12), *range(16, 20)]
    attention = [("0.self_attn.in_proj_weight", 0, head_rows), ("0.self_attn.in_proj_bias", 0, head_rows)]
    attention.append(("0.self_attn.out_proj.weight", 1, [0, 1, 2, 3]))
    hidden = [*rows("0.linear1.weight", "0.linear1.bias"), ("0.linear2.weight", 1, [0])]
    assert found == {"0.self_attn.in_proj_weight": (2, attention), "0.linear1.weight": (6, hidden)}


def test_a_unit_of_an_lstm_has_a_row_in_each_gate():
    model = Function(lambda net, x: net.head(net.cell(x)[0]), cell=nn.LSTM(3, 2), head=nn.Linear(2, 2))
    gates = [0, 2, 4, 6]
    members = [
        ("cell.weight_ih_l0", 0, gates),
        ("cell.weight_hh_l0", 0, gates),
        ("cell.weight_hh_l0", 1, [0]),
    ]
    members += [("cell.bias_ih_l0", 0, gates), ("cell.bias_hh_l0", 0, gates), ("head.weight", 1, [0])]
    assert described(model, 4, 1, 3) == {"cell.weight_ih_l0": (2, members)}


LOOKED_AT = {
    "softmax": lambda x: x.softmax(1),
    "mean": lambda x: x - x.mean(1, keepdim=True),
    "largest": lambda x: x * x.amax(1, keepdim=True),
    "number": lambda x: torch.cat([x[:, 2:3], x], 1)[:, 1:],
    "constant": lambda x: x + torch.ones(4, 1, 1),
    "parts of other sizes": lambda x: torch.cat(x.split([3, 1], 1), 1),
    "norm": lambda x: F.normalize(x),
    "length": lambda x: x / x.norm(2, 1, True),
    "variance": lambda x: x / x.var(1, True, True),
    "sum of exponentials": lambda x: x - torch.logsumexp(x, 1, True),
    "comparison": lambda x: torch.where(x > x.max(1, keepdim=True).values, x, -x),
}


@pytest.mark.parametrize("function", LOOKED_AT)
def test_channels_that_a_function_looks_at_together_or_by_number_stay(function):
    layer = Function(lambda net, x: LOOKED_AT[function](x))
    assert units(nn.Sequential(conv(1, 4), layer, conv(4, 3), conv(3, 2)), 1, 1, 4, 4) == {"2.weight": 3}


BY_CHANNEL = {
    "clamped": lambda x: x.clamp(0, 6) * 2**x,
    "spread of positions": lambda x: x / x.std((2, 3), keepdim=True) - x.norm(dim=(2, 3), keepdim=True),
    "filled": lambda x: x.masked_fill(x > x.mean((2, 3), keepdim=True), 0.0),
    "turned": lambda x: 1 - x.flip(1).roll(1, 2),
    "like it": lambda x: x + torch.zeros_like(x) * torch.ones(1, 1, 4, 1),
    "written": lambda x: x.clone().relu_().add_(x.mul_(2)),
    "moved": lambda x: x.permute(0, 2, 3, 1).reshape(1, 16, 4).mT.unflatten(2, (4, 4)),
}


@pytest.mark.parametrize("function", BY_CHANNEL)
def test_what_is_computed_channel_by_channel_leaves_them_units(function):
    layer = Function(lambda net, x: BY_CHANNEL[function](x))
    assert units(nn.Sequential(conv(1, 4), layer, conv(4, 2)), 1, 1, 4, 4) == {"0.weight": 4}


def test_channels_go_together_however_two_tensors_meet():
    for meet in (
        torch.maximum,
        torch.pow,
        lambda x, y: x.masked_fill(y > 0, 0.0),
        lambda x, y: x.clone().copy_(y),
    ):
        model = Function(
            lambda net, x, meet=meet: net.out(meet(net.a(x), net.b(x))),
            a=conv(1, 4),
            b=conv(1, 4),
            out=conv(4, 2),
        )
        size, members = described(model, 1, 1, 4, 4)["a.weight"]
        assert size == 4 and ("b.weight", 0, [0]) in members


def test_a_gate_of_positions_frees_the_channels_that_it_multiplies():
    model = Function(
        lambda net, x: net.out(net.stem(x) * net.gate(x)), stem=conv(1, 4), gate=conv(1, 1), out=conv(4, 2)
    )
    assert units(model, 1, 1, 4, 4) == {"stem.weight": 4}


def test_the_classes_of_position_embeddings_and_tokens_are_found():
    model = Function(
        lambda net, x: net.out(
            (torch.cat([net.token.expand(len(x), -1, -1), net.read(x)], 1) + net.places)[:, 0]
        ),
        read=nn.Linear(3, 4),
        token=nn.Parameter(torch.zeros(1, 1, 4)),
        places=nn.Parameter(torch.zeros(1, 6, 4)),
        out=nn.Linear(4, 2),
    )
    members = [
        ("token", 2, [0]),
        ("places", 2, [0]),
        *rows("read.weight", "read.bias"),
        ("out.weight", 1, [0]),
    ]
    assert described(model, 1, 5, 3) == {"read.weight": (4, members)}


def test_weights_that_are_computed_from_others_stay():
    standardized = Function(
        lambda net, x: F.conv2d(x, net.layer.weight / net.layer.weight.std(), net.layer.bias, padding=1),
        layer=conv(4, 4),
    )
    assert units(nn.Sequential(conv(1, 4), standardized, conv(4, 3), conv(3, 2)), 1, 1, 4, 4) == {
        "2.weight": 3
    }


def test_units_of_an_excluded_weight_stay_but_its_columns_may_go():
    model = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 2))
    assert units(model, 1, 3) == {"0.weight": 4, "2.weight": 5}
    assert units(model, 1, 3, exclude=["2.*"]) == {"0.weight": 4}
    assert units(model, 1, 3, exclude="0.weight") == {"2.weight": 5}
    with pytest.raises(ValueError, match=r"^exclude='nothing' matches no prunable weight of 0.weight, "):
        units(model, 1, 3, exclude=["nothing"])


def test_one_channel_alone_is_no_unit():
    assert units(nn.Sequential(conv(1, 1), conv(1, 3), conv(3, 2)), 1, 1, 4, 4) == {"1.weight": 3}


def test_rows_of_one_weight_in_different_places_are_groups_of_different_names():
    model = Function(
        lambda net, x: net.c((parts := torch.cat([net.a(x), net.b(x)], 1).chunk(2, 1))[0]) + net.d(parts[1]),
        a=conv(1, 6),
        b=conv(1, 2),
        c=conv(4, 2),
        d=conv(4, 2),
    )
    groups = channel_groups(model, torch.zeros(1, 1, 4, 4))
    rows_of_a = {group.name: group.members[0].index.tolist() for group in groups}
    assert rows_of_a == {"a.weight": [[0, 4], [1, 5]], "a.weight#2": [[2], [3]]}, "both halves lose as much"


@pytest.mark.parametrize("name", ["residual", "groups and shuffle", "encoder", "lstm"])
def test_the_network_and_the_random_state_stay_as_they_were(name):
    model, shape, _ = NETS[name]()
    before = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    state = torch.get_rng_state()
    channel_groups(model.train(), random_inputs(shape))
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(tensor, before[key]) for key, tensor in model.state_dict().items())
    assert all(each.training and not each._forward_hooks for each in model.modules())


def test_layout_precision_and_size_of_the_batch_change_nothing():
    model = nn.Sequential(conv(3, 4), nn.BatchNorm2d(4), conv(4, 6), head(6))
    expected = described(model, 1, 3, 8, 8)
    assert described(model.to(memory_format=torch.channels_last), 5, 3, 8, 8) == expected
    assert described(model.half(), 1, 3, 8, 8) == expected


def test_each_entry_is_of_one_unit():
    """Over all networks: no two units share an entry, and the units of a group are alike."""
    for build in NETS.values():
        model, shape, _ = build()
        groups = channel_groups(model, random_inputs(shape))
        assert len({group.name for group in groups}) == len(groups)
        used = {}
        for group in groups:
            assert len({len(member.index) for member in group.members}) == 1 and group.size > 1
            for member in group.members:
                used.setdefault((member.parameter, member.dim), []).extend(member.index.flatten().tolist())
        assert all(len(places) == len(set(places)) for places in used.values())


def test_what_cannot_be_worked_out_names_the_layer_and_the_function():
    model = nn.Sequential(nn.Linear(3, 4), Function(lambda net, x: torch.erfinv(x)), nn.Linear(4, 2))
    message = r"^layer 1: coupled channels are not worked out for the function erfinv$"
    with pytest.raises(ValueError, match=message):
        channel_groups(model, torch.zeros(1, 3))
    model[1] = Function(lambda net, x: torch.einsum("...i->...i", x))
    with pytest.raises(
        ValueError, match=r"^layer 1: .* function einsum as it is called: '...i->...i': write all"
    ):
        channel_groups(model, torch.zeros(1, 3))
    with pytest.raises(ValueError, match=r"^DataParallel hides the network: give its `module`$"):
        channel_groups(nn.DataParallel(model), torch.zeros(1, 3))
