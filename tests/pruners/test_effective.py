import itertools

import pytest
import torch
import torch.nn.functional as F
import torchvision
from torch import nn

import pruners
from sweep.models.decoders import Decoder


def random_masks(model, density, seed):
    generator = torch.Generator().manual_seed(seed)
    return {
        name: torch.rand(weight.shape, generator=generator) < density
        for name, weight in pruners.prunable(model).items()
    }


def test_what_cudnns_cells_look_at_after_a_pass_is_no_step_of_the_network(recurrent_net, monkeypatch):
    """On a GPU they look where their weights lie, of which an interpreter knows nothing."""
    model, _ = recurrent_net
    masks = random_masks(model, 0.2, 0)
    example = torch.zeros(1, *recurrent_net[1][0][0].shape[1:])
    expected = pruners.effective_masks(model, masks, example)

    def flatten(self):
        """As torch's own, without a look at whether there is a GPU."""
        if torch.backends.cudnn.enabled:
            assert len({weight.data_ptr() for weight in self._flat_weights}) > 1

    monkeypatch.setattr(nn.RNNBase, "flatten_parameters", flatten)
    found = pruners.effective_masks(model, masks, example)
    assert all(torch.equal(mask, found[name]) for name, mask in expected.items())


@pytest.mark.parametrize("seed", range(5))
def test_in_a_multilayer_perceptron_effective_weights_are_those_on_a_path(seed):
    """Against every path from an input to an output, written out."""
    model = nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 3), nn.Tanh(), nn.Linear(3, 2))
    masks = random_masks(model, 0.3, seed)
    first, second, third = masks.values()
    expected = {name: torch.zeros_like(mask) for name, mask in masks.items()}
    for i, j, k, o in itertools.product(range(4), range(5), range(3), range(2)):
        if first[j, i] and second[k, j] and third[o, k]:
            expected["0.weight"][j, i] = expected["2.weight"][k, j] = expected["4.weight"][o, k] = True
    found = pruners.effective_masks(model, masks, torch.zeros(1, 4))
    assert all(torch.equal(found[name], expected[name]) for name in masks)


class Residual(nn.Module):
    """A block whose addition keeps channels alive that its convolutions have lost."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(1, 3, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(3)
        self.block = nn.Conv2d(3, 3, 3, padding=1, bias=False)
        self.act = nn.ReLU(inplace=True)
        self.pool = nn.MaxPool2d(2)
        self.head = nn.Linear(3 * 4, 2)

    def forward(self, inputs):
        stem = self.act(self.norm(self.stem(inputs)))
        return self.head(torch.flatten(self.pool(self.act(stem + self.block(stem))), 1))


def test_paths_run_through_batchnorm_pooling_and_residual_additions():
    model = Residual()
    masks = {name: torch.ones_like(p, dtype=torch.bool) for name, p in pruners.prunable(model).items()}
    masks["stem.weight"][1] = False  # channel 1 has no input
    masks["block.weight"][2] = False  # channel 2 lives on by the addition alone
    masks["head.weight"][:, 0:4] = False  # channel 0 of the addition reaches no output
    before = {name: value.clone() for name, value in model.state_dict().items()}
    found = pruners.effective_masks(model, masks, torch.zeros(1, 1, 4, 4))
    assert found["stem.weight"][0].all(), "channel 0 reaches the output through the block"
    assert not found["block.weight"][0].any(), "the block's channel 0 leads nowhere"
    assert not found["block.weight"][:, 1].any(), "nothing comes in on channel 1"
    assert found["block.weight"][1, 0].all() and found["block.weight"][1, 2].all()
    assert found["head.weight"][:, 4:8].all(), "channel 1 is alive behind the block"
    assert found["head.weight"][:, 8:12].all(), "channel 2 is alive by the addition"
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert not any(module._forward_hooks for module in model.modules())


def test_a_network_without_any_path_has_no_effective_weight(conv_net):
    model, _ = conv_net
    masks = {name: torch.ones_like(p, dtype=torch.bool) for name, p in pruners.prunable(model).items()}
    masks["4.weight"][:] = False
    found = pruners.effective_masks(model, masks, torch.zeros(1, 2, 6, 6))
    assert not any(mask.any() for mask in found.values())
    assert model.training


def test_a_function_it_cannot_look_through_is_named():
    model = nn.Sequential(nn.Linear(4, 4), nn.Threshold(0.1, 5), nn.Linear(4, 2))
    masks = random_masks(model, 1.1, 0)
    with pytest.raises(ValueError, match="not worked out for networks that call the function threshold"):
        pruners.effective_masks(model, masks, torch.zeros(1, 4))


class Functional(nn.Module):
    """What other models have as modules, called as functions: pooling, activations, products, softmax."""

    def __init__(self):
        super().__init__()
        self.conv, self.gate = nn.Conv2d(1, 3, 3, padding=1), nn.Conv2d(1, 3, 1)
        self.head = nn.Linear(3 * 4, 2)

    def forward(self, inputs):
        mixed = F.gelu(self.conv(inputs)) * torch.sigmoid(self.gate(inputs)) - 0.5
        return torch.softmax(self.head(F.max_pool2d(mixed, 2).flatten(1)), 1)


def test_functions_called_without_a_module_are_looked_through():
    model = Functional()
    masks = random_masks(model, 1.1, 0)
    masks["conv.weight"][0] = masks["gate.weight"][0] = False  # channel 0 has no input at all
    masks["gate.weight"][1] = False  # channel 1 lives on by the other factor
    masks["head.weight"][:, 8:] = False  # channel 2 reaches no output
    found = pruners.effective_masks(model, masks, torch.zeros(1, 1, 4, 4))
    assert not found["head.weight"][:, :4].any() and found["head.weight"][:, 4:8].all()
    assert found["conv.weight"][1].all() and not found["conv.weight"][2].any()
    assert not found["gate.weight"][2].any()


@pytest.mark.parametrize("seed", range(4))
def test_in_a_recurrent_network_effective_weights_are_those_on_a_path_through_time(seed):
    """Against a search in the graph of inputs, units of each step and outputs. A gate touches its own unit."""

    class Rows(nn.Module):
        def __init__(self):
            super().__init__()
            self.rows, self.head = nn.LSTM(2, 3, batch_first=True), nn.Linear(3, 2)

        def forward(self, inputs):
            return self.head(self.rows(inputs)[0][:, -1])

    model, steps = Rows(), 4
    masks = random_masks(model, 0.12, seed)
    edges = set()  # (from, to, weight): node (t, unit), inputs (t, "in", i), outputs ("out", o)
    for t in range(1, steps + 1):
        for unit in range(3):
            edges.add(((t - 1, unit), (t, unit), None))  # the cell's own memory
            for gate in range(4):
                row = gate * 3 + unit
                edges |= {((t, "in", i), (t, unit), ("rows.weight_ih_l0", row, i)) for i in range(2)}
                edges |= {((t - 1, j), (t, unit), ("rows.weight_hh_l0", row, j)) for j in range(3)}
    edges |= {((steps, u), ("out", o), ("head.weight", o, u)) for u in range(3) for o in range(2)}
    kept = {(a, b, w) for a, b, w in edges if w is None or masks[w[0]][w[1], w[2]]}

    def reach(start, forward):
        found = set(start)
        while True:
            more = {(b if forward else a) for a, b, _ in kept if (a if forward else b) in found} - found
            if not more:
                return found
            found |= more

    entered = reach({(t, "in", i) for t in range(1, steps + 1) for i in range(2)}, True)
    leaving = reach({("out", o) for o in range(2)}, False)
    expected = {name: torch.zeros_like(mask) for name, mask in masks.items()}
    for a, b, weight in kept:
        if weight is not None and a in entered and b in leaving:
            expected[weight[0]][weight[1], weight[2]] = True
    found = pruners.effective_masks(model, masks, torch.zeros(1, steps, 2))
    assert all(torch.equal(found[name], expected[name]) for name in masks)


def test_attention_reads_every_position():
    model = torchvision.models.VisionTransformer(
        image_size=4, patch_size=2, num_layers=2, num_heads=2, hidden_dim=4, mlp_dim=6, num_classes=3
    )
    masks = random_masks(model, 1.1, 0)
    example = torch.zeros(1, 3, 4, 4)
    assert all(mask.all() for mask in pruners.effective_masks(model, masks, example).values())
    masks["conv_proj.weight"][:] = False
    assert not any(mask.any() for mask in pruners.effective_masks(model, masks, example).values())


def test_a_shared_weight_is_one_weight():
    layer = nn.Linear(3, 3, bias=False)
    model = nn.Sequential(layer, nn.ReLU(), layer)
    masks = {"0.weight": torch.tensor([[1, 0, 0], [0, 0, 0], [0, 1, 0]], dtype=torch.bool)}
    found = pruners.effective_masks(model, masks, torch.zeros(1, 3))
    # 0 → 0 → 0 is a path; input 1 → unit 2 leads nowhere, and unit 1 has no input.
    assert found["0.weight"].tolist() == [[True, False, False], [False] * 3, [False] * 3]


class Chain(nn.Module):
    """Two layers with something between; unit 0 of the first is dead."""

    def __init__(self, between):
        super().__init__()
        self.a, self.b, self.c = nn.Linear(3, 4), nn.Linear(4, 2), nn.Linear(3, 4)
        self.register_buffer("shift", torch.full((4,), -1.0))
        self.between = between

    def forward(self, inputs):
        return self.b(self.between(self, self.a(inputs), inputs))


def in_place(model, h, x):
    r = torch.relu(h)
    r += model.c(x)
    return h  # what was done to r is not done to h


BETWEEN = {
    "a constant added": (lambda m, h, x: h + 1, 0.75),
    "a constant taken away": (lambda m, h, x: torch.add(h, -1), 0.75),
    "a buffer added": (lambda m, h, x: h + m.shift, 0.75),
    "another layer taken away": (lambda m, h, x: torch.add(h, m.c(x), alpha=-1), 1.0),
    "written to in place": (lambda m, h, x: h.mul_(m.c(x)), 1.0),
    "a copy written to in place": (in_place, 0.75),
    "the larger of two": (lambda m, h, x: torch.max(h, m.c(x)), 1.0),
    "the largest of each": (lambda m, h, x: torch.stack([h, m.c(x)]).max(0).values, 1.0),
    "amax": (lambda m, h, x: torch.stack([h, h]).amax(0), 0.75),
    "addcmul": (lambda m, h, x: torch.addcmul(h, m.c(x), m.c(x)), 1.0),
    "its own zeros": (lambda m, h, x: torch.zeros(1, 4) + h, 0.75),
}


@pytest.mark.parametrize("between", BETWEEN)
def test_constants_are_no_inputs_and_what_is_done_in_place_is_done(between):
    function, expected = BETWEEN[between]
    model = Chain(function)
    masks = random_masks(model, 1.1, 0)
    masks["a.weight"][0] = False
    found = pruners.effective_masks(model, masks, torch.zeros(1, 3))
    assert pruners.densities(found)["b.weight"] == expected


def without_gradients(inputs, weight):
    with torch.no_grad():
        return F.linear(inputs, weight)


SAME = {
    "scaled": lambda x, w: F.linear(x, w * 0.5),
    "scaled from the left": lambda x, w: F.linear(x, 2 * w / 3),
    "negated": lambda x, w: F.linear(x, -w),
    "a product": lambda x, w: x @ w.T,
    "turned twice": lambda x, w: F.linear(x, w.t().contiguous().t()),
    "part by part": lambda x, w: torch.cat([F.linear(x, part) for part in w.chunk(2)], 1),
    "a convolution": lambda x, w: F.conv1d(x.unsqueeze(2), w.unsqueeze(2)).squeeze(2),
    "held": lambda x, w: F.linear(x.detach(), w.detach()),
    "its data": lambda x, w: F.linear(x, w.data),
    "without gradients": without_gradients,
}


class Inner(nn.Module):
    """A layer between others that `forward` computes with in its own way."""

    def __init__(self, compute):
        super().__init__()
        self.stem, self.inner, self.head = nn.Linear(3, 4), nn.Linear(4, 4, bias=False), nn.Linear(4, 2)
        self.gain, self.compute = nn.Parameter(torch.ones(4, 1)), compute

    def forward(self, inputs):
        return self.head(torch.relu(self.compute(torch.relu(self.stem(inputs)), self.inner.weight)))


@pytest.mark.parametrize("name", SAME)
def test_a_linear_map_written_otherwise_has_the_paths_of_the_layer(name):
    for seed in range(3):
        masks = random_masks(Inner(SAME[name]), 0.4, seed)
        expected = pruners.effective_masks(Inner(F.linear), masks, torch.zeros(1, 3))
        found = pruners.effective_masks(Inner(SAME[name]), masks, torch.zeros(1, 3))
        assert any(mask.any() for mask in expected.values())
        assert all(torch.equal(found[layer], expected[layer]) for layer in masks)


@pytest.mark.parametrize("seed", range(4))
def test_in_a_tied_decoder_a_weight_is_effective_on_the_way_in_or_out(seed):
    class Tied(nn.Module):
        def __init__(self):
            super().__init__()
            self.code = nn.Linear(4, 3, bias=False)

        def forward(self, inputs):
            return torch.relu(self.code(inputs)) @ self.code.weight

    masks = random_masks(Tied(), 0.4, seed)
    kept = masks["code.weight"]
    # A unit that any input reaches reaches those same inputs again.
    found = pruners.effective_masks(Tied(), masks, torch.zeros(1, 4))["code.weight"]
    assert torch.equal(found, kept) and kept.any()


@pytest.mark.parametrize(
    ("compute", "function"),
    [
        (lambda x, w: F.linear(x, w - w.mean(1, keepdim=True)), "mean"),
        (lambda x, w: F.linear(x, F.layer_norm(w, (4,))), "layer_norm"),
        (lambda x, w: F.linear(x, w.sigmoid()), "sigmoid"),
        (lambda x, w: F.linear(x, w + 1), "add"),
        (lambda x, w: F.linear(x, w * w), "mul"),
        (lambda x, w: F.linear(x, torch.cat([w[:2], torch.zeros(2, 4)])), "cat"),
        (lambda x, w: x * w[0], "mul"),
        (lambda x, w: F.linear(x, w, w[0]), "linear"),
        (lambda x, w: F.linear(w, x), "linear"),
    ],
)
def test_a_layer_that_computes_with_more_than_its_weight_is_named_and_no_zero(compute, function):
    """What was pruned may be another number than 0 there, so that its mask says nothing."""
    model = Inner(compute)
    message = rf"not worked out where {function} computes with the weight of layer inner\.weight"
    with pytest.raises(ValueError, match=message):
        pruners.effective_masks(model, random_masks(model, 1.1, 0), torch.zeros(1, 3))


def test_a_network_that_uses_no_masked_weight_has_no_effective_one():
    model = Inner(lambda x, w: x)
    masks = {"inner.weight": torch.ones(4, 4, dtype=torch.bool)}
    found = pruners.effective_masks(model, masks, torch.zeros(1, 3))
    assert not found["inner.weight"].any()


@pytest.mark.parametrize("pool", [nn.AdaptiveMaxPool1d(2), nn.MaxPool1d(2), nn.AdaptiveAvgPool1d(2)])
def test_pooling_layers_of_every_kind(pool):
    model = nn.Sequential(nn.Conv1d(1, 3, 1), pool, nn.Flatten(), nn.Linear(6, 2))
    masks = random_masks(model, 1.1, 0)
    masks["0.weight"][1] = False
    found = pruners.effective_masks(model, masks, torch.zeros(1, 1, 4))
    assert found["3.weight"][0].tolist() == [True, True, False, False, True, True]


def test_a_mask_of_no_parameter_is_an_error():
    with pytest.raises(ValueError, match=r"mask 1\.weight \(2, 2\) fits no parameter"):
        pruners.effective_masks(
            nn.Sequential(nn.Linear(2, 2)), {"1.weight": torch.ones(2, 2).bool()}, torch.ones(1, 2)
        )


def test_what_an_attention_layer_leaves_unmasked_is_whole():
    model = nn.Sequential(
        nn.Linear(4, 4), nn.TransformerEncoderLayer(4, 2, 6, batch_first=True), nn.Linear(4, 2)
    )
    masks = {name: mask for name, mask in random_masks(model, 1.1, 0).items() if "out_proj" not in name}
    found = pruners.effective_masks(model, masks, torch.zeros(1, 3, 4))
    assert all(mask.all() for mask in found.values())


@pytest.mark.parametrize("seed", range(6))
def test_in_a_decoder_every_token_reaches_its_embedding_and_positions_cut_no_path(seed):
    """Against the paths of one block, worked out by sets of units; rotary positions are constants."""
    model = Decoder(7, 1, 8, 2, 5)
    kept = random_masks(model, 0.15, seed)
    q, k, v, o, gate, up, down, head = kept.values()
    wanted = head.any(0)  # units of the residual stream that the head reads
    neurons = (down & wanted[:, None]).any(0)
    middle = wanted | (gate & neurons[:, None]).any(0) | (up & neurons[:, None]).any(0)
    features = (o & middle[:, None]).any(0)
    # A head's features are mixed by its queries and keys: one that is read makes all of them matter.
    heads = features.view(2, 4).any(1).repeat_interleave(4)
    mixed = (q.any(1) | k.any(1)).view(2, 4).any(1).repeat_interleave(4)
    expected = [
        q & heads[:, None],
        k & heads[:, None],
        v & features[:, None],
        o & middle[:, None] & (mixed | v.any(1)),
        gate & neurons[:, None],
        up & neurons[:, None],
        down & wanted[:, None] & (gate.any(1) | up.any(1)),
        head,
    ]
    found = pruners.effective_masks(model, kept, torch.zeros(1, 6, dtype=torch.long))
    assert all(torch.equal(mask, own) for mask, own in zip(found.values(), expected, strict=True))
