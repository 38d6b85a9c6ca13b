import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import pruners


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


def test_random_depends_on_its_seed_alone(conv_net):
    model, _ = conv_net
    torch.manual_seed(1)
    first = flat(pruners.saliency("random", model, seed=5))
    torch.manual_seed(2)
    assert torch.equal(first, flat(pruners.saliency("random", model, seed=5)))
    assert not torch.equal(first, flat(pruners.saliency("random", model, seed=6)))
    assert first.min() >= 0 and first.max() < 1


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


def test_recurrent_layers_are_scored():
    class Rows(nn.Module):
        def __init__(self):
            super().__init__()
            self.rows = nn.LSTM(4, 5, batch_first=True)
            self.head = nn.Linear(5, 3)

        def forward(self, inputs):
            return self.head(self.rows(inputs)[0][:, -1])

    torch.manual_seed(0)
    model = Rows()
    inputs, targets = torch.randn(7, 6, 4), torch.randint(0, 3, (7,))
    scores = pruners.saliency("snip", model, [(inputs, targets)])
    F.cross_entropy(model(inputs), targets).backward()
    for name, score in scores.items():
        parameter = model.get_parameter(name)
        torch.testing.assert_close(score, (parameter * parameter.grad).abs().detach())
