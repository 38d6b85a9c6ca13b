import copy
import subprocess
import sys

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import pruners
from pruners.saliency import CRITERIA
from tests.pruners.golden import GOLDEN


def golden(name):
    return torch.tensor([float(value) for value in GOLDEN[name].split()], dtype=torch.float64)


def flat(scores):
    return torch.cat([score.flatten() for score in scores.values()])


def test_snip_gives_the_golden_scores(net_g):
    scores = flat(pruners.saliency("snip", *net_g))
    golden = (
        "0.07042073 0.01153712 0.01085208 0.1918376 0.04792237 0.07829806 0.06602737 0.09599107 "
        "0.06281004 0.07934806 0.01691877 0.07340487 0.01727833 0.003163509 0.002648361 0.02588023 "
        "0.01059047 0.002793033 0.02201517 0.01546681 0.03095702 0.02666817 0.01006212 0.02710868"
    )
    expected = torch.tensor([float(value) for value in golden.split()], dtype=torch.float64)
    torch.testing.assert_close(scores / scores.sum(), expected, rtol=1e-6, atol=0)


def test_snip_is_the_loss_change_per_unit_of_each_connection(conv_net):
    """Against central differences of the loss in one connection's gate at a time."""
    model, batches = conv_net
    model = model.double()
    model[3].p = 0.0
    inputs, targets = batches[0][0].double(), batches[0][1]
    scores = pruners.saliency("snip", model, [(inputs, targets)])
    step = 1e-5
    for name in scores:
        weight = model.get_parameter(name)
        for index in (0, weight.numel() // 2, weight.numel() - 1):
            losses = []
            for gate in (1 + step, 1 - step):
                changed = copy.deepcopy(model).train()
                with torch.no_grad():
                    changed.get_parameter(name).view(-1)[index] *= gate
                losses.append(F.cross_entropy(changed(inputs), targets).item())
            slope = abs(losses[0] - losses[1]) / (2 * step)
            assert scores[name].view(-1)[index].item() == pytest.approx(slope, rel=1e-4, abs=1e-9)


def test_several_batches_count_by_their_samples(net_g):
    model, [(inputs, targets)] = net_g
    whole = flat(pruners.saliency("snip", model, [(inputs, targets)]))
    parts = [(inputs[:1], targets[:1]), (inputs[1:], targets[1:])]
    torch.testing.assert_close(flat(pruners.saliency("snip", model, parts)), whole)


def test_magnitude_is_the_absolute_weight(net_g):
    model, _ = net_g
    scores = pruners.saliency("magnitude", model)
    assert all(torch.equal(score, model.get_parameter(name).abs()) for name, score in scores.items())


def of_weights(*layers):
    """A network whose layers, each a row, have these weights."""
    model = nn.Sequential(*(nn.Linear(len(layer), 1, bias=False) for layer in layers)).double()
    with torch.no_grad():
        for module, layer in zip(model, layers, strict=True):
            module.weight.copy_(torch.tensor([layer]))
    return model


def test_lamp_divides_a_square_by_those_not_smaller_in_its_layer():
    model = of_weights([3.0, -1, 2], [0.0, 0.1], [0.0, 0])
    first, second, empty = pruners.saliency("lamp", model).values()
    torch.testing.assert_close(first, torch.tensor([[9 / 9, 1 / 14, 4 / 13]], dtype=torch.float64))
    assert second.tolist() == [[0, 1]] and empty.tolist() == [[0, 0]]
    # Equal weights: the lower index counts as the larger.
    tied = pruners.saliency("lamp", of_weights([2.0, -2, 2]))["0.weight"]
    torch.testing.assert_close(tied, torch.tensor([[1, 1 / 2, 1 / 3]], dtype=torch.float64))


@pytest.mark.slow
@given(st.lists(st.lists(st.integers(-9, 9), min_size=1, max_size=12), min_size=1, max_size=4), st.data())
def test_lamp_keeps_one_weight_of_each_layer_first_and_is_the_same_in_any_number_of_iterations(layers, data):
    """And within a layer it ranks by size; against the definition, in exact fractions."""
    model = of_weights(*layers)
    scores = pruners.saliency("lamp", model)
    for layer, found in zip(layers, scores.values(), strict=True):
        order = sorted(range(len(layer)), key=lambda i: (-abs(layer[i]), i))
        for place, index in enumerate(order):
            total = sum(layer[i] ** 2 for i in order[: place + 1])
            assert found[0, index].item() == (layer[index] ** 2 / total if total else 0)
    total = sum(map(len, layers))
    kept = data.draw(st.integers(len(layers), total))
    arguments = {
        "sparsity": f"{total - kept}/{total}",
        "structure": data.draw(st.sampled_from(["weight", "filter"])),
    }
    once, often = (pruners.prune("lamp", model, iterations=n, **arguments) for n in (1, 4))
    assert all(torch.equal(mask, often[name]) for name, mask in once.items())
    if arguments["structure"] == "weight" and all(map(any, layers)):
        assert not pruners.collapsed_layers(once)


def test_random_depends_on_its_seed_alone(conv_net):
    model, _ = conv_net
    torch.manual_seed(1)
    first = flat(pruners.saliency("random", model, seed=5))
    torch.manual_seed(2)
    assert torch.equal(first, flat(pruners.saliency("random", model, seed=5)))
    assert not torch.equal(first, flat(pruners.saliency("random", model, seed=6)))
    assert first.min() >= 0 and first.max() < 1


@pytest.mark.slow
@pytest.mark.parametrize("name", pruners.names())
def test_scoring_leaves_the_model_and_the_random_state_as_they_were(name, conv_net):
    model, batches = conv_net
    model[1].eval()  # a mixture of modes must come back as it was
    model[0].weight.grad = torch.ones_like(model[0].weight)
    model[0].weight.requires_grad_(False)
    before = copy.deepcopy(model.state_dict())
    modes = [module.training for module in model.modules()]
    random_state = torch.get_rng_state()
    with torch.no_grad():
        pruners.prune(name, model, batches, sparsity=0.5)
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert modes == [module.training for module in model.modules()]
    assert torch.equal(model[0].weight.grad, torch.ones_like(model[0].weight))
    assert not model[0].weight.requires_grad and model[4].weight.grad is None
    assert torch.equal(random_state, torch.get_rng_state())


def test_scoring_works_inside_inference_mode_and_autocast(net_g):
    model, batches = net_g
    outside = flat(pruners.saliency("snip", model, batches))
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(flat(pruners.saliency("snip", model, batches)), outside)


@pytest.mark.parametrize("name", pruners.names())
def test_pruning_inside_inference_mode_gives_the_same_masks(name, conv_net):
    model, batches = conv_net
    outside = pruners.prune(name, model, batches, sparsity=0.8, iterations=2)
    with torch.inference_mode():
        inside = pruners.prune(
            name, model, [(x.clone(), y.clone()) for x, y in batches], sparsity=0.8, iterations=2
        )
    assert all(torch.equal(mask, inside[layer]) for layer, mask in outside.items())


def test_with_dropout_a_score_is_the_same_whatever_is_computed_beside_it(conv_net):
    model, batches = conv_net
    model[3].p = 0.5
    names = ["snip", "grasp", "prospr", "grad-norm"]
    for order in (names, names[::-1]):
        together = pruners.saliencies(order, model, batches)
        for name in names:
            alone = pruners.saliency(name, model, batches)
            assert all(torch.equal(score, together[name][layer]) for layer, score in alone.items()), name


def test_random_draws_are_the_same_whatever_torchs_default_device_and_type_are(conv_net):
    model, batches = conv_net
    plain = pruners.prune("random", model, batches, sparsity=0.8)
    before = torch.get_default_dtype()
    try:
        torch.set_default_dtype(torch.float64)
        with torch.device("meta"):
            other = pruners.prune("random", model, batches, sparsity=0.8)
            shuffled = pruners.shuffle(plain)
    finally:
        torch.set_default_dtype(before)
    assert all(torch.equal(mask, other[layer]) for layer, mask in plain.items())
    assert all(torch.equal(mask, shuffled[layer]) for layer, mask in pruners.shuffle(plain).items())


@pytest.mark.slow
@pytest.mark.parametrize(
    "asked",
    ["torch.set_float32_matmul_precision('medium')", "torch.backends.cuda.matmul.fp32_precision = 'tf32'"],
)
def test_scoring_leaves_the_precision_of_products_as_it_was_said_in_either_way(asked):
    """In a process of its own: torch takes one way or the other."""
    code = f"""
import torch, pruners
{asked}
model = torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.Linear(3, 2))
batches = [(torch.ones(2, 4), torch.zeros(2, dtype=torch.long))]
before = torch.backends.cuda.matmul.fp32_precision
pruners.saliency("snip", model, batches)
assert before == torch.backends.cuda.matmul.fp32_precision == "tf32"
if "set_" in {asked!r}:
    assert torch.get_float32_matmul_precision() == "medium"
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_prospr_at_a_mask_trains_only_what_is_kept(net_g):
    model, [(inputs, targets)] = net_g
    first, second = pruners.trajectory(
        "prospr", model, [(inputs, targets)], sparsity=0.6, iterations=2, rate=0.5
    )
    pruned = copy.deepcopy(model)
    pruners.apply_masks(pruned, first.masks)
    for name, score in second.scores.items():
        weight = pruned.get_parameter(name)
        for index in first.masks[name].flatten().nonzero().flatten().tolist():
            losses = []
            for gate in (1 + 1e-6, 1 - 1e-6):
                trained = copy.deepcopy(pruned)
                with torch.no_grad():
                    trained.get_parameter(name).view(-1)[index] *= gate
                for _ in range(3):
                    trained.zero_grad()
                    F.cross_entropy(trained(inputs), targets).backward()
                    with torch.no_grad():
                        for parameter in trained.parameters():
                            parameter -= 0.5 * parameter.grad
                    pruners.apply_masks(trained, first.masks)
                losses.append(F.cross_entropy(trained(inputs), targets).item())
            slope = abs(losses[0] - losses[1]) / 2e-6
            assert score.view(-1)[index].item() == pytest.approx(slope, rel=1e-3, abs=1e-8), (
                name,
                index,
                weight,
            )


def test_prospr_holds_what_training_would_hold(net_g):
    """A frozen layer, as in transfer learning: by hand, its weights stay at their gates' through all steps."""
    model, [(inputs, targets)] = net_g
    model[0].requires_grad_(False)
    gates = [torch.ones_like(model[i].weight, requires_grad=True) for i in (0, 2)]
    first, second = (model[i].weight.detach() * gate for i, gate in zip((0, 2), gates, strict=True))
    shift = model[2].bias.detach().clone().requires_grad_()

    def loss():
        return F.cross_entropy(
            F.linear(torch.tanh(F.linear(inputs, first, model[0].bias)), second, shift), targets
        )

    for _ in range(3):
        slopes = torch.autograd.grad(loss(), (second, shift), create_graph=True)
        second, shift = second - 0.1 * slopes[0], shift - 0.1 * slopes[1]
    expected = torch.autograd.grad(loss(), gates)
    found = pruners.saliency("prospr", model, [(inputs, targets)])
    for score, slope in zip(found.values(), expected, strict=True):
        torch.testing.assert_close(score, slope.abs(), rtol=1e-9, atol=0)
    # Nothing moves at all: the slope of the loss as it is.
    frozen = pruners.saliency("prospr", model.requires_grad_(False), [(inputs, targets)])
    torch.testing.assert_close(frozen, pruners.saliency("snip", model, [(inputs, targets)]))


BAD = [
    ("snip", {"itterations": 3}, "snip has no option 'itterations'; it has none"),
    ("fts", {"per_samples": 3}, "fts has no option 'per_samples'; it has per_sample"),
    ("snip", {"structure": "filters"}, "unknown structure 'filters': did you mean 'filter'"),
    ("snip", {"score_mode": "Train"}, "score_mode 'Train': train, eval or None"),
    ("snip", {"min_per_layer": -3}, "min_per_layer -3: at least 0"),
    ("snip", {"min_per_layer": 3, "scope": "rowwise"}, "not with scope rowwise"),
    ("snip", {"sparsity": "a"}, r"sparsity 'a': give a number in \[0, 1\)"),
    ("snip", {"sparsity": float("nan")}, r"sparsity nan: give a number in \[0, 1\)"),
    ("snip", {"scope": {"0.weight": float("inf")}}, "layer densities: 0.weight has none of at least 0"),
    ("snip", {"scope": None}, "unknown scope None"),
    ("snip", {"exclude": ["0.weight", "0.*", "9.*"]}, r"exclude='9\.\*' matches no prunable weight"),
    ("hutchinson-diagonal", {"probes": 0}, "hutchinson-diagonal: probes 0: at least 1"),
]


@pytest.mark.parametrize(("name", "wrong", "message"), BAD)
def test_bad_input_is_one_line_that_names_it(name, wrong, message, conv_net):
    model, batches = conv_net
    with pytest.raises(ValueError, match=message) as error:
        pruners.prune(name, model, batches, **{"sparsity": 0.5} | wrong)
    assert "\n" not in str(error.value)


def test_batches_that_are_no_pairs_are_an_error(conv_net):
    model, [(inputs, targets), _] = conv_net
    with pytest.raises(
        ValueError, match=r"snip: batches is a list of pairs: give batches=\[\(inputs, targets\)\]"
    ):
        pruners.prune("snip", model, (inputs, targets), sparsity=0.5)
    uneven = [(inputs, targets), (inputs[:3], targets[:3])]
    with pytest.raises(ValueError, match="fts: per_sample=False needs batches of one size"):
        pruners.saliency("fts", model, uneven, per_sample=False)


class Giving(nn.Module):
    """The network, with something done to its output."""

    def __init__(self, net, change):
        super().__init__()
        self.net, self.change = net, change

    def forward(self, inputs):
        return self.change(self.net(inputs))


NO_OUTPUTS = (
    "wanda",
    "beta-rank",
    "flap",
    "activation",
    "block-influence",
)  # what the network gives is not looked at
NO_LOSS = (*NO_OUTPUTS, "lrp", "px")
NEEDS_LOSS = [n for n in pruners.names() if pruners.find(n).needs_data and n not in NO_LOSS]
NEEDS_BATCH = [n for n in pruners.names() if pruners.find(n).needs != "nothing"]


@pytest.mark.parametrize("kind", [tuple, dict])
@pytest.mark.parametrize("name", [n for n in NEEDS_BATCH if n not in NO_OUTPUTS])
def test_outputs_that_are_no_tensor_are_an_error_that_says_what_they_are(name, kind, net_g):
    change = {tuple: lambda out: (out, out), dict: lambda out: {"out": out}}[kind]
    message = f"{name}: it needs a network that gives one tensor, and this one gives {kind.__name__}"
    with pytest.raises(ValueError, match=message):
        pruners.saliency(name, Giving(net_g[0], change), net_g[1])


@pytest.mark.parametrize("name", NEEDS_BATCH)
def test_networks_and_batches_that_cannot_be_scored_are_one_line(name, net_g):
    model, [(inputs, targets)] = net_g
    complex_net = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3, dtype=torch.complex64))
    for network, batches, message in [
        (nn.DataParallel(model), net_g[1], "DataParallel hides the network: give its `module`"),
        (complex_net, net_g[1], "layer 1.weight is of torch.complex64: exclude it"),
        (model, [(inputs, targets), (inputs[:0], targets[:0])], "batch 1 has no samples: leave it out"),
        (model, [(inputs, targets.tolist())], "batch 0 has a list: give tensors"),
    ]:
        with pytest.raises(ValueError, match=message) as error:
            pruners.saliency(name, network, batches)
        assert str(error.value).startswith(f"{name}: ") and "\n" not in str(error.value)


@pytest.mark.parametrize("name", NEEDS_LOSS)
def test_a_loss_that_is_no_mean_of_any_sample_is_an_error(name, net_g):
    model, [(inputs, targets)] = net_g
    with pytest.raises(ValueError, match=rf"{name}: the loss gives \(6,\): give one that is a mean"):
        pruners.saliency(name, *net_g, loss=nn.CrossEntropyLoss(reduction="none"))
    with pytest.raises(ValueError, match="the loss gives float: give one that is a mean"):
        pruners.saliency(name, *net_g, loss=lambda outputs, targets: 0.5)
    # Its gradient is 0, which would rank all weights alike.
    with pytest.raises(ValueError, match=f"{name}: the loss of a batch is NaN: give targets"):
        pruners.saliency(name, model, [(inputs, torch.full_like(targets, -100))])


@pytest.mark.parametrize("target", [-100, 3])
def test_relevance_of_a_class_that_is_none_is_an_error(target, net_g):
    model, [(inputs, targets)] = net_g
    with pytest.raises(ValueError, match="lrp: it needs targets from 0 to 2"):
        pruners.saliency("lrp", model, [(inputs, targets.clone().fill_(target))])


@pytest.mark.parametrize("name", pruners.names())
def test_a_network_made_in_inference_mode_scores_as_any_other(name, conv_net):
    model, batches = conv_net
    with torch.inference_mode():
        made = copy.deepcopy(model)
        for module in made.modules():
            for leaf, parameter in [*module.named_parameters(recurse=False)]:
                setattr(module, leaf, nn.Parameter(parameter.clone()))
    assert made[0].weight.is_inference()
    expected = pruners.saliency(name, model, batches)
    assert all(torch.equal(s, expected[n]) for n, s in pruners.saliency(name, made, batches).items())
    masks = pruners.prune("random", made, sparsity=0.5)
    outside = pruners.cost(made, masks, batches[0][0])
    with torch.inference_mode():
        assert (
            pruners.cost(made, masks, batches[0][0]) == outside == pruners.cost(model, masks, batches[0][0])
        )


class Casting(nn.Module):
    """A network that makes tensors of one precision and casts to it, whatever that of its weights is."""

    def __init__(self, kind):
        super().__init__()
        self.kind, self.rows = kind, nn.LSTM(3, 4, batch_first=True)
        self.conv, self.norm = nn.Conv1d(4, 4, 3), nn.BatchNorm1d(4)
        self.attention, self.head = nn.MultiheadAttention(4, 2, batch_first=True), nn.Linear(4, 3)
        self.to(kind)

    def forward(self, inputs):
        state = torch.zeros(1, len(inputs), 4, dtype=self.kind)
        hidden = self.rows(inputs, (state, state))[0].to(self.kind)
        hidden = self.norm(self.conv(hidden.transpose(1, 2)).to(self.kind)).transpose(1, 2).to(self.kind)
        return self.head(self.attention(hidden, hidden, hidden)[0].to(self.kind).mean(1))


@pytest.mark.slow
@pytest.mark.parametrize("kind", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("name", pruners.names())
def test_a_network_that_casts_is_scored_in_the_precision_of_scoring(name, kind):
    torch.manual_seed(0)
    model, batches = Casting(kind), [(torch.randn(6, 5, 3).to(kind), torch.arange(6) % 3)]
    found = pruners.saliency(name, model, batches)
    # The same weights in a network that casts to what it is scored in.
    plain = Casting(torch.float32)
    plain.load_state_dict(model.state_dict())
    if name in ("synflow", "synflow-l2", "px"):
        plain.double().kind = torch.float64
    expected = pruners.saliency(name, plain, [(batches[0][0].to(plain.kind), batches[0][1])])
    for layer, score in found.items():
        assert score.dtype == expected[layer].dtype and score.isfinite().all()
        if name not in ("ntk-sap", "lrp", "fbss", "grasp") and not name.startswith("hutchinson"):
            scale = expected[layer].abs().max().item()
            torch.testing.assert_close(score, expected[layer], rtol=0, atol=0.1 * scale)


def test_networks_that_give_a_dictionary_score_with_a_loss_that_takes_one(net_g):
    class Named(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = net_g[0]

        def forward(self, inputs):
            return {"logits": self.net(inputs)}

    plain = flat(pruners.saliency("snip", *net_g))
    named = pruners.saliency("snip", Named(), net_g[1], loss=lambda out, y: F.cross_entropy(out["logits"], y))
    assert torch.equal(flat(named), plain)
    with pytest.raises(
        ValueError, match="synflow: it needs a network that gives one tensor, and this one gives dict"
    ):
        pruners.saliency("synflow", Named(), net_g[1])


def test_half_precision_weights_are_scored_in_float32(conv_net):
    model, batches = conv_net
    scores = pruners.saliency("snip", model.to(torch.bfloat16), batches)
    assert {score.dtype for score in scores.values()} == {torch.float32}


@pytest.mark.parametrize("name", ["snip", "force", "magnitude"])
def test_scores_that_are_not_finite_name_criterion_and_layer(name, net_g):
    model, batches = net_g
    with torch.no_grad():
        model[2].weight[0, 0] = float("nan")
    with pytest.raises(ValueError, match=rf"{name} gives NaN or infinite scores in layer \w+\.weight"):
        pruners.prune(name, model, batches, sparsity=0.5)


def test_used_up_batches_are_an_error_that_says_so(net_g):
    model, batches = net_g
    with pytest.raises(ValueError, match="give a list"):
        pruners.prune("iter-snip", model, iter(batches), sparsity=0.5, iterations=2)


class Rows(nn.Module):
    """Reads the rows of an input one by one."""

    def __init__(self):
        super().__init__()
        self.rows = nn.LSTM(4, 5, batch_first=True)
        self.head = nn.Linear(5, 3)

    def forward(self, inputs):
        return self.head(self.rows(inputs)[0][:, -1])


def test_recurrent_layers_are_scored():
    torch.manual_seed(0)
    model = Rows()
    inputs, targets = torch.randn(7, 6, 4), torch.randint(0, 3, (7,))
    scores = pruners.saliency("snip", model, [(inputs, targets)])
    F.cross_entropy(model(inputs), targets).backward()
    for name, score in scores.items():
        parameter = model.get_parameter(name)
        torch.testing.assert_close(score, (parameter * parameter.grad).abs().detach())


@pytest.mark.parametrize(
    ("key", "name", "options", "sign"),
    [
        # The golden values are the paper's S, of which the smallest are kept.
        ("grasp T=1", "grasp", {"temperature": 1.0}, -1),
        ("grasp T=200", "grasp", {}, -1),
        ("fisher-diagonal", "fisher-diagonal", {}, 1),
        ("fisher-pruning", "fisher-pruning", {}, 1),
        ("fts", "fts", {}, 1),
        ("fbss", "fbss", {}, 1),
        ("prospr 1", "prospr", {"steps": 1}, 1),
    ],
)
def test_second_order_scores_are_golden(key, name, options, sign, net_g):
    scores = flat(pruners.saliency(name, *net_g, **options))
    torch.testing.assert_close(sign * scores, golden(key), rtol=2e-6, atol=0)


def test_fisher_of_batch_gradients_is_scaled_by_their_size(net_g):
    model, [(inputs, targets)] = net_g
    halves = [(inputs[:3], targets[:3]), (inputs[3:], targets[3:])]
    scores = flat(pruners.saliency("fts", model, halves, per_sample=False))
    torch.testing.assert_close(scores, golden("fts batches of 3"), rtol=2e-6, atol=0)


def test_prospr_through_three_steps_is_golden(net_g):
    scores = flat(pruners.saliency("prospr", *net_g))
    expected = torch.tensor([0.02257581, 0.007985937, 0.003123035, 0.06887332], dtype=torch.float64)
    torch.testing.assert_close(scores[:4], expected, rtol=2e-6, atol=0)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("hutchinson-diagonal", "hessian diagonal"),
        ("hutchinson-pruning", "hutchinson-pruning"),
        ("hutchinson-taylor", "hutchinson-taylor"),
    ],
)
def test_hutchinsons_estimate_approaches_the_exact_diagonal(name, key, net_g):
    scores = flat(pruners.saliency(name, *net_g, probes=4000, temperature=1.0))
    torch.testing.assert_close(scores, golden(key), rtol=0, atol=0.015)


def test_synflow_is_golden_and_conserved(net_g):
    model, batches = net_g
    model[1] = nn.ReLU()
    with torch.no_grad():
        model[0].bias.zero_()
    scores = pruners.saliency("synflow", model, batches)
    torch.testing.assert_close(flat(scores), golden("synflow"), rtol=2e-6, atol=0)
    # Conservation (Tanaka et al. 2020): without biases every layer's scores add up to R.
    assert [score.sum().item() for score in scores.values()] == pytest.approx([9.7864222780] * 2)
    for iterations, expected in [
        (1, [4, 7, 10, 15, 18, 21]),
        (10, [4, 6, 7, 14, 18, 21]),
        (100, [4, 6, 7, 14, 18, 21]),
    ]:
        masks = pruners.prune("synflow", model, batches, sparsity=0.75, iterations=iterations)
        assert flat(masks).nonzero().flatten().tolist() == expected


def test_synflow_does_not_see_the_data(conv_net):
    model, batches = conv_net
    other = [(torch.randn_like(inputs), targets) for inputs, targets in batches]
    one, two = (flat(pruners.saliency("synflow", model, data)) for data in (batches, other))
    assert one.dtype == torch.float64 and torch.equal(one, two)


def test_per_sample_gradients_are_those_of_a_loop_over_samples(conv_net):
    """On convolution, grouped convolution and BatchNorm in eval mode."""
    model, batches = conv_net
    found = pruners.saliency("fisher-diagonal", model, batches)
    model.eval()
    total = {name: torch.zeros_like(score) for name, score in found.items()}
    for inputs, targets in batches:
        for i in range(len(targets)):
            model.zero_grad()
            F.cross_entropy(model(inputs[i : i + 1]), targets[i : i + 1]).backward()
            for name in total:
                total[name] += model.get_parameter(name).grad.square() / 32
    for name, score in found.items():
        torch.testing.assert_close(score, total[name], rtol=1e-4, atol=1e-9)


def test_grasp_is_the_change_of_gradient_flow_when_a_weight_shrinks(conv_net):
    """Wang et al. 2020: half the slope of the squared gradient norm, against central differences."""
    model, batches = conv_net
    model = model.double()
    model[3].p = 0.0
    inputs, targets = batches[0][0].double(), batches[0][1]
    scores = pruners.saliency("grasp", model, [(inputs, targets)], temperature=1.0)

    def flow(name, index, factor):
        changed = copy.deepcopy(model).train()
        with torch.no_grad():
            changed.get_parameter(name).view(-1)[index] *= factor
        weights = [changed.get_parameter(layer) for layer in scores]
        gradients = torch.autograd.grad(F.cross_entropy(changed(inputs), targets), weights)
        return sum(g.square().sum().item() for g in gradients)

    for name, score in scores.items():
        for index in (0, score.numel() - 1):
            slope = (flow(name, index, 1 + 1e-5) - flow(name, index, 1 - 1e-5)) / (2 * 1e-5)
            assert score.view(-1)[index].item() == pytest.approx(slope / 2, rel=1e-3, abs=1e-9)


def test_fbss_is_zero_where_the_fisher_information_is(conv_net):
    model, batches = conv_net
    with torch.no_grad():
        model[8].weight.zero_()  # no gradient reaches what lies before
    scores = pruners.saliency("fbss", model, batches)
    assert not scores["0.weight"].any() and scores["8.weight"].any()


def test_all_passes_of_one_score_see_the_same_data(net_g):
    """GraSP needs the gradient first: a source that draws anew must not give the Hessian other samples."""
    model, [(inputs, targets)] = net_g

    class Drawn:
        passes = 0

        def __iter__(self):
            self.passes += 1
            yield inputs[self.passes :], targets[self.passes :]

    drawn = Drawn()
    scores = pruners.saliency("grasp", model, drawn)
    assert drawn.passes == 1
    expected = pruners.saliency("grasp", model, [(inputs[1:], targets[1:])])
    torch.testing.assert_close(flat(scores), flat(expected))


@pytest.mark.parametrize("name", pruners.names())
def test_every_criterion_prunes_recurrent_networks(name):
    torch.manual_seed(0)
    batches = [(torch.randn(7, 6, 4), torch.randint(0, 3, (7,)))]
    masks = pruners.prune(name, Rows(), batches, sparsity=0.6, iterations=2)
    assert sum(int(mask.sum()) for mask in masks.values()) == 78  # of 80 + 100 + 15


def test_several_criteria_share_their_passes_and_score_as_they_do_alone(conv_net):
    model, batches = conv_net
    passed = {True: 0, False: 0}

    def count(module, args):
        passed[module.training] += len(args[0])

    names = ["random", "snip", "grad-norm", "grasp-it", "fts", "fisher-pruning", "fbss"]
    handle = model.register_forward_pre_hook(count)
    together = pruners.saliencies(names, model, batches)
    handle.remove()
    # Two batches of 16: one gradient in train mode; in eval mode one gradient, and one Fisher matrix, held
    # against the gradient of a single sample.
    assert passed == {True: 32, False: 32 + 32 + 2}
    for name in names:
        alone = pruners.saliency(name, model, batches)
        assert all(torch.equal(score, alone[layer]) for layer, score in together[name].items())


def test_synflow_says_that_it_needs_the_shape_of_an_input(conv_net):
    with pytest.raises(ValueError, match="needs one batch of real-valued inputs, for their shape"):
        pruners.prune("synflow", conv_net[0], sparsity=0.9)


@pytest.mark.parametrize("scale", [1e-18, 1e-20])
def test_fbss_stays_finite_where_gradients_are_tiny(scale, conv_net):
    model, batches = conv_net
    scores = pruners.saliency("fbss", model, batches, loss=lambda out, y: scale * F.cross_entropy(out, y))
    assert flat(scores).isfinite().all()


@pytest.mark.parametrize("name", pruners.names())
def test_a_layer_that_is_not_used_scores_lowest_or_by_itself(name, conv_net):
    model, batches = conv_net

    class WithSpare(nn.Module):
        def __init__(self):
            super().__init__()
            self.used, self.spare = model, nn.Linear(3, 3)

        def forward(self, inputs):
            return self.used(inputs)

    network = WithSpare()
    scores = pruners.saliency(name, network, batches)["spare.weight"]
    if name == "gaprune":  # which has a term of the weight's size
        scores = scores - F.softplus(network.spare.weight.detach().double().abs().sqrt() / 2)
    assert scores.shape == (3, 3) and (pruners.find(name).static or not scores.any())


def test_attention_has_the_second_derivatives_that_grasp_needs():
    class Attention(nn.Module):
        def __init__(self):
            super().__init__()
            self.mix, self.head = nn.Linear(4, 12), nn.Linear(4, 3)

        def forward(self, inputs):
            query, key, value = self.mix(inputs).chunk(3, dim=-1)
            return self.head(F.scaled_dot_product_attention(query, key, value).mean(1))

    torch.manual_seed(0)
    batches = [(torch.randn(5, 6, 4), torch.randint(0, 3, (5,)))]
    for name in ("grasp", "hutchinson-diagonal", "prospr"):
        assert flat(pruners.saliency(name, Attention(), batches)).any()


def test_criteria_of_both_modes_see_the_same_drawn_data(net_g):
    model, [(inputs, targets)] = net_g
    together = pruners.saliencies(["snip", "fts"], model, iter([(inputs, targets)]))
    for name in together:
        torch.testing.assert_close(
            flat(together[name]), flat(pruners.saliency(name, model, [(inputs, targets)]))
        )


def test_a_criterion_registered_from_outside_is_used_like_any_other(net_g):
    @pruners.criterion("weight-times-gradient", source="a test", equation="w ⊙ E g")
    def weight_times_gradient(probe):
        gradient = probe.gradient()
        return {name: weight * gradient[name] for name, weight in probe.weights.items()}

    try:
        assert "weight-times-gradient" in pruners.names()
        scores = flat(pruners.saliency("weight-times-gradient", *net_g))
        assert torch.equal(scores.abs(), flat(pruners.saliency("snip", *net_g)))
        masks = pruners.prune("weight-times-gradient", *net_g, sparsity=0.5, scope="uniform")
        assert all(mask.dtype == torch.bool for mask in masks.values())
    finally:
        del CRITERIA["weight-times-gradient"]
