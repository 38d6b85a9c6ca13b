"""Functions of one's own where the name of a criterion is: both forms, what is undone, and what is refused."""

import copy
import re
from functools import partial

import pytest
import torch
import torch.nn.functional as F

import pruners
from pruners.criteria import Criterion
from pruners.saliency import CRITERIA, magnitude


def flat(scores):
    return torch.cat([score.flatten() for score in scores.values()])


def equal(one, other):
    return one.keys() == other.keys() and all(torch.equal(each, other[name]) for name, each in one.items())


def by_probe(probe, *, power=1.0):
    gradient = probe.gradient()
    return {name: (weight * gradient[name]).abs() ** power for name, weight in probe.weights.items()}


def plain(model, batches, loss, *, power=1.0):
    model.zero_grad()
    for inputs, targets in batches:
        (loss(model(inputs), targets) / len(batches)).backward()
    weights = pruners.prunable(model)
    return {name: (weight * weight.grad).abs() ** power for name, weight in weights.items()}


@pytest.mark.parametrize("function", [by_probe, plain])
def test_snip_written_in_either_form_gives_snips_scores_and_masks(function, net_g):
    torch.testing.assert_close(pruners.saliency(function, *net_g), pruners.saliency("snip", *net_g))
    for iterations in (1, 3):
        own = pruners.prune(function, *net_g, sparsity=0.75, iterations=iterations)
        assert equal(own, pruners.prune("iter-snip", *net_g, sparsity=0.75, iterations=iterations))


def test_the_plain_form_sees_the_weights_as_they_are_in_each_iteration(net_g):
    seen = []

    def watching(model, batches, loss):
        seen.append({name: weight.detach().clone() for name, weight in pruners.prunable(model).items()})
        return plain(model, batches, loss)

    steps = list(pruners.trajectory(watching, *net_g, sparsity=0.5, iterations=3))
    assert equal(seen[0], dict(pruners.prunable(net_g[0])))
    assert all(equal({n: w != 0 for n, w in seen[k + 1].items()}, steps[k].masks) for k in range(2))


def test_the_plain_form_may_take_the_model_alone_and_its_excluded_weights_do_no_harm(net_g):
    def size(model):
        return {name: weight.abs() for name, weight in pruners.prunable(model).items()}

    first = next(iter(pruners.prunable(net_g[0])))
    own = pruners.prune(size, net_g[0], sparsity=0.5, exclude=[first])
    assert equal(own, pruners.prune("magnitude", net_g[0], sparsity=0.5, exclude=[first]))


def test_batches_of_the_plain_form_are_a_list_that_is_drawn_when_it_is_looked_at(net_g):
    def first_batch(model, batches, loss):
        inputs, targets = batches[0]
        assert len(batches) == len(batches[:]) == 1
        return plain(model, [(inputs, targets)], loss)

    assert pruners.saliency(first_batch, *net_g)
    with pytest.raises(ValueError, match="first_batch: there are no batches"):
        pruners.saliency(first_batch, net_g[0])


def test_parameters_pass_as_those_of_built_in_criteria_do(net_g):
    squared = pruners.saliency(by_probe, *net_g, power=2.0)
    torch.testing.assert_close(flat(squared), flat(pruners.saliency(by_probe, *net_g)).square())
    masks = pruners.prune(plain, *net_g, sparsity=0.5, power=2.0)
    assert equal(masks, pruners.prune("snip", *net_g, sparsity=0.5))
    torch.testing.assert_close(pruners.saliency(partial(by_probe, power=2.0), *net_g), squared)
    with pytest.raises(ValueError, match="by_probe has no option 'powr'; it has power"):
        pruners.saliency(by_probe, *net_g, powr=2.0)


def test_a_criterion_object_is_taken_and_its_scores_are_checked_too(net_g):
    lazy = Criterion("mine", lambda probe, **options: pruners.find(by_probe).score(probe, **options))
    assert equal(pruners.saliency(lazy, *net_g, power=2.0), pruners.saliency(by_probe, *net_g, power=2.0))
    assert pruners.find(pruners.find("snip")) is pruners.find("snip")
    assert pruners.find(magnitude) is pruners.find("magnitude")
    with pytest.raises(ValueError, match="gives None"):
        pruners.saliency(Criterion("mine", lambda probe: None), *net_g)


def test_the_decorator_without_a_name_says_and_does_not_register(net_g):
    @pruners.criterion(needs="nothing", iterations=3, train_mode=False, version=3)
    def size(probe):
        return {name: weight.abs() for name, weight in probe.weights.items()}

    said = pruners.find(size)
    assert (said.name, said.needs, said.iterations, said.train_mode) == ("size", "nothing", 3, False)
    assert said.version == 3 and "size" not in CRITERIA
    assert size.__name__ == "size"
    assert len(list(pruners.trajectory(size, net_g[0], sparsity=0.5))) == 3
    assert equal(pruners.saliency(size, net_g[0]), pruners.saliency("magnitude", net_g[0]))


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ({"needs": "dta"}, "needs 'dta': data, shape or nothing"),
        ({"iterations": 0}, "iterations 0: at least 1"),
        ({"iterations": "5"}, "iterations '5': at least 1"),
    ],
)
def test_the_decorator_refuses_what_it_does_not_know(said, message):
    with pytest.raises(ValueError, match=message):
        pruners.criterion(**said)(by_probe)


def test_the_decorator_without_parentheses_is_an_error_that_says_so():
    with pytest.raises(ValueError, match=re.escape("@criterion is written with parentheses: @criterion()")):
        pruners.criterion(by_probe)


def test_several_criteria_with_own_functions_among_them_share_nothing(net_g):
    def spoiling(probe):
        return {name: g.abs_().mul_(0) for name, g in probe.gradient().items()}

    together = pruners.saliencies([spoiling, "snip", by_probe], *net_g)
    assert equal(together["snip"], pruners.saliency("snip", *net_g))
    assert equal(together["by_probe"], pruners.saliency(by_probe, *net_g))
    other = partial(by_probe, power=2.0)
    with pytest.raises(ValueError, match="two criteria are named by_probe"):
        pruners.saliencies([by_probe, other], *net_g)


def wreck(model, batches, loss):
    """Change everything that can be changed."""
    scores = plain(model, batches, loss)
    with torch.no_grad():
        for tensor in (*model.parameters(), *model.buffers()):
            tensor.zero_()
        for inputs, targets in batches:
            inputs.zero_()
            targets.zero_()
    model.eval().requires_grad_(False)
    model.register_forward_hook(lambda *_: 1 / 0)
    torch.manual_seed(99)
    torch.rand(7)
    return scores


def wreck_by_probe(probe):
    scores = by_probe(probe)
    for weight in probe.weights.values():
        weight.zero_()
    return scores


@pytest.mark.parametrize("function", [wreck, wreck_by_probe])
def test_what_a_function_changes_is_undone(function, conv_net):
    model, batches = conv_net
    model[1].eval()
    model[0].weight.grad = torch.ones_like(model[0].weight)
    model[0].weight.requires_grad_(False)
    before, data = copy.deepcopy(model.state_dict()), copy.deepcopy(batches)
    modes = [module.training for module in model.modules()]
    state = torch.get_rng_state()
    pruners.prune(function, model, batches, sparsity=0.5, iterations=2)
    assert equal(model.state_dict(), before)
    assert [module.training for module in model.modules()] == modes
    assert torch.equal(model[0].weight.grad, torch.ones_like(model[0].weight))
    assert model[4].weight.grad is None and not model[0].weight.requires_grad
    assert not model._forward_hooks and torch.equal(torch.get_rng_state(), state)
    assert all(
        torch.equal(x, y)
        for old, new in zip(data, batches, strict=True)
        for x, y in zip(old, new, strict=True)
    )


def test_random_numbers_of_a_function_come_from_the_seed(conv_net):
    def noise(model):
        return {name: torch.rand(weight.shape) for name, weight in pruners.prunable(model).items()}

    model, _ = conv_net
    first = pruners.saliency(noise, model, seed=1)
    torch.rand(5)
    assert equal(first, pruners.saliency(noise, model, seed=1))
    assert not equal(first, pruners.saliency(noise, model, seed=2))


def test_a_network_made_in_inference_mode_is_scored_too(net_g):
    expected = {f: pruners.saliency(f, *net_g) for f in (by_probe, plain)}
    with torch.inference_mode():
        model = copy.deepcopy(net_g[0])
        batches = [(inputs.clone(), targets.clone()) for inputs, targets in net_g[1]]
        inside = {f: pruners.saliency(f, model, batches) for f in expected}
    assert all(equal(inside[f], scores) for f, scores in expected.items())


def test_frozen_weights_have_gradients_in_the_plain_form(net_g):
    model, batches = net_g
    expected = pruners.saliency("snip", model, batches)
    torch.testing.assert_close(pruners.saliency(plain, model.requires_grad_(False), batches), expected)


def test_scores_in_half_precision_are_ranked_in_float32(net_g):
    def half(probe):
        return {name: weight.abs().bfloat16() for name, weight in probe.weights.items()}

    assert all(each.dtype == torch.float32 for each in pruners.saliency(half, *net_g).values())
    assert sum(int(mask.sum()) for mask in pruners.prune(half, *net_g, sparsity=0.5).values()) == 12


def changed(change):
    """A criterion whose scores of the first weight are changed."""

    def half_gradient(probe):
        scores = by_probe(probe)
        change(scores)
        return scores

    return half_gradient


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.update({"0.weight": s["0.weight"][:1]}), "scores of 0.weight have shape (1, 3), expected (4, 3)"),
        (lambda s: s.pop("0.weight"), "gives no scores of 0.weight, expected those of all 2 prunable weights"),
        (lambda s: s.update({"0.bias": s["0.weight"]}), "scores of 0.bias, expected those of prunable weights alone"),
        (lambda s: s.update({"0.weight": 3}), "scores of 0.weight are of type int, expected a tensor"),
        (lambda s: s.update({"0.weight": s["0.weight"].int()}), "are int32, expected dense real numbers, such as float32"),
        (lambda s: s.update({"0.weight": s["0.weight"] + 0j}), "are complex128, expected dense real"),
        (lambda s: s.update({"0.weight": s["0.weight"].to_sparse()}), "are sparse_coo, expected dense real numbers"),
        (lambda s: s.update({"0.weight": s["0.weight"].to("meta")}), "are on meta, expected cpu"),
        (lambda s: s["0.weight"][0].fill_(torch.nan), "3 of 12 scores of 0.weight are NaN or infinite"),
        (lambda s: s["0.weight"][0, 0].fill_(torch.inf), "1 of 12 scores of 0.weight are NaN or infinite"),
    ],
)  # fmt: skip
def test_wrong_scores_are_one_line_that_names_file_line_and_weight(change, message, net_g):
    with pytest.raises(ValueError) as raised:
        pruners.prune(changed(change), *net_g, sparsity=0.5)
    text = str(raised.value)
    assert message in text and "\n" not in text
    assert re.match(r"tests/pruners/test_own\.py:\d+ half_gradient: ", text)


@pytest.mark.parametrize("given", [None, 3, [1], torch.ones(3)])
def test_what_is_no_dict_is_refused(given, net_g):
    with pytest.raises(ValueError, match="expected a dict from parameter names to scores"):
        pruners.saliency(lambda probe: given, *net_g)


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda: {}, r"takes \(\), expected \(probe"),
        (lambda probe, power: {}, r"takes \(probe, power\), expected"),
        (lambda a, b, c, d: {}, r"takes \(a, b, c, d\), expected"),
        (lambda *inputs: {}, r"takes \(\), expected"),
        (lambda probe, *, seed=3: {}, "parameter seed has the name of an argument of prune"),
        (lambda probe, scope="x": {}, "parameter scope has the name of an argument of prune"),
        (dict, "dict"),
    ],
)
def test_a_function_of_another_form_is_one_line(function, message, net_g):
    with pytest.raises(ValueError, match=message) as raised:
        pruners.prune(function, *net_g, sparsity=0.5)
    assert "\n" not in str(raised.value)


def test_a_parameter_without_default_must_be_given(net_g):
    def powered(probe, *, power):
        return by_probe(probe, power=power)

    assert pruners.saliency(powered, *net_g, power=1.0)
    with pytest.raises(ValueError, match="parameter power has no default: give power=VALUE"):
        pruners.saliency(powered, *net_g)


def test_errors_of_the_function_itself_keep_their_kind(net_g):
    def broken(probe):
        raise KeyError("mine")

    def complaining(probe):
        raise ValueError("too small")

    with pytest.raises(KeyError, match="mine"):
        pruners.saliency(broken, *net_g)
    with pytest.raises(ValueError, match="complaining: too small"):
        pruners.saliency(complaining, *net_g)


def test_a_network_that_cannot_be_copied_is_named(net_g):
    model, batches = net_g
    model.extra = model[0].weight * 2
    with pytest.raises(ValueError, match="by_probe: the network cannot be copied for it"):
        pruners.saliency(by_probe, model, batches)
    assert pruners.saliency("snip", model, batches)


def test_batches_and_a_loss_of_ones_own_serve_the_plain_form(net_g):
    own = pruners.saliency(plain, *net_g, loss=F.nll_loss)
    torch.testing.assert_close(own, pruners.saliency("snip", *net_g, loss=F.nll_loss))
