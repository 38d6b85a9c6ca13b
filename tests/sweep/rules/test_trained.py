"""Trained masks: what is frozen stays, scores move by the straight-through gradient, masks follow from them."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import pruners
from pruners import interop
from sweep import data, rules
from sweep.config import Config
from sweep.errors import BadInput
from sweep.models import weights
from sweep.rules.edge_popup import EdgePopup
from sweep.rules.trained import Scores
from sweep.study.identity import Trial
from sweep.trial import run
from sweep.trial.prefixes import Shared
from sweep.trial.stages import Stages
from tests.sweep.study.test_study import trials

FROZEN = ("edge-popup", "signed-supermask", "hydra")
BILEVEL = ("bip", "bip-code")


def config(criterion, parameters=None, **fields):
    base = {"dataset": "digits", "model": "conv-5", "sparsity": 0.9, "epochs": 2, "lr": 0.05}
    given = tuple(sorted((parameters or {}).items()))
    return Config(**(base | {"criterion": criterion, "parameters": given} | fields))


@pytest.fixture(scope="module")
def digits():
    return data.load("digits", Path("data"), 0.1, 0)


def stages_of(asked, digits):
    return Stages(asked, digits, Shared())


class Alone:
    """The moves of `Run` that scores make, of one small network, with a learning rate that falls."""

    exclude = ()

    def __init__(self, asked, model):
        self.config, self.model, self.scope = asked, model, asked.scope
        self.total = sum(weight.numel() for weight in pruners.prunable(model).values())

    def steps_of(self, epochs):
        return round(10 * epochs)

    def learning_rate(self, step):
        return self.config.lr / (1 + step)

    def mask(self, masks):
        pruners.apply_masks(self.model, masks)


def one_layer(criterion, scope="global", sparsity=0.5, **fields):
    torch.manual_seed(3)
    model = nn.Linear(6, 4)
    asked = config(criterion, scope=scope, sparsity=sparsity, **fields)
    return model, Scores(rules.find(criterion), Alone(asked, model))


def loss_of(model, step):
    draws = torch.Generator().manual_seed(step)
    inputs, targets = torch.randn(8, 6, generator=draws), torch.randn(8, 4, generator=draws)
    return F.mse_loss(model(inputs) if isinstance(model, nn.Module) else model @ inputs.T, targets)


def step(model, masks, number):
    model.zero_grad()
    loss_of(model, number).backward()
    assert masks(number), "the training's own optimizer does nothing"


def test_the_straight_through_gradient_of_one_layer_by_hand():
    """w = (2, −1), score = (0.3, −0.4), one weight kept, L = 5 z₁ + 7 z₂ for the inputs (5, 7)."""
    model = nn.Linear(2, 1, bias=False)
    model.weight.data = torch.tensor([[2.0, -1.0]])
    asked = config("edge-popup", sparsity=0.5, lr=0.1, momentum=0.0, weight_decay=0.0)

    class Given(EdgePopup):
        def first_scores(self, weight, draws):
            return torch.tensor([[0.3, -0.4]])

    masks = Scores(Given(), Alone(asked, model))
    assert model.weight.tolist() == [[0.0, -1.0]]
    model(torch.tensor([[5.0, 7.0]])).sum().backward()
    masks(0)
    # ∂L/∂h = w ⊙ (5, 7) = (10, −7). The score of the second weight is negative: |score| falls by 0.1 · −7.
    assert masks.scores["weight"].detach().flatten().tolist() == pytest.approx([0.3 - 1.0, -0.4 - 0.7])
    assert model.weight.tolist() == [[0.0, -1.0]] and masks.masks["weight"].tolist() == [[False, True]]
    model.zero_grad()
    model(torch.tensor([[0.0, -9.0]])).sum().backward()
    masks(0)
    # Now |score| of the second one falls from 1.1 to 0.2, and the first one, hidden until now, comes back.
    assert masks.scores["weight"].detach().flatten().tolist() == pytest.approx([-0.7, -0.2])
    assert model.weight.tolist() == [[2.0, 0.0]]


def straight_through(criterion, score, weight, config):
    """The effective weights, by autograd alone: a second implementation of the mapping."""
    if criterion == "signed-supermask":
        hard = torch.where(score.abs() > 0.01, score.sign(), 0.0)
        return weight * (hard + score - score.detach())
    size = score.abs()
    least = size.flatten().sort().values[-pruners.kept_count(score.numel(), config.sparsity)]
    return weight * ((size >= least).float() + size - size.detach())


@pytest.mark.parametrize("criterion", FROZEN)
def test_scores_take_the_path_of_autograd_with_their_own_momentum_and_decay(criterion):
    fields = {"momentum": 0.9, "nesterov": True, "weight_decay": 0.1, "lr": 0.2}
    model, masks = one_layer(criterion, **fields)
    weight, bias = masks.weights["weight"].detach().clone(), model.bias.detach().clone()
    score = masks.scores["weight"].detach().clone().requires_grad_()
    reference = torch.optim.SGD([score], lr=0.2, momentum=0.9, nesterov=True, weight_decay=0.1)
    moved = set()
    for number in range(12):
        step(model, masks, number)
        draws = torch.Generator().manual_seed(number)
        inputs, targets = torch.randn(8, 6, generator=draws), torch.randn(8, 4, generator=draws)
        effective = straight_through(criterion, score, weight, masks.run.config)
        reference.zero_grad()
        F.mse_loss(inputs @ effective.T + bias, targets).backward()
        reference.param_groups[0]["lr"] = 0.2 / (1 + number)
        reference.step()
        torch.testing.assert_close(masks.scores["weight"].detach(), score.detach())
        moved.add(tuple(masks.masks["weight"].flatten().tolist()))
    expected = straight_through(criterion, score, weight, masks.run.config).detach()
    torch.testing.assert_close(model.weight.detach(), expected)
    assert len(moved) > 1, "the masks change on the way"
    assert torch.equal(masks.weights["weight"], weight) and torch.equal(model.bias, bias)


@pytest.mark.parametrize("criterion", FROZEN)
@pytest.mark.parametrize("model", ["conv-5", pytest.param("resnet-20", marks=pytest.mark.slow)])
def test_frozen_weights_biases_and_normalization_stay_bit_equal(criterion, model, digits):
    # At weights of one size HYDRA's first scores are all equal.
    init = "kaiming" if criterion == "hydra" else "signed-constant"
    asked = config(criterion, model=model, init=init, lr=0.2, layers="* !*conv2*" if "20" in model else "*")
    stages = stages_of(asked, digits)
    before = {name: p.detach().clone() for name, p in stages.model.named_parameters()}
    masks = Scores(stages.rule, stages)
    first = {name: mask.clone() for name, mask in masks.masks.items()}
    stages.train("sparse", stages.steps_of(1), masks)
    assert any(not torch.equal(first[name], mask) for name, mask in masks.masks.items())
    for name, parameter in stages.model.named_parameters():
        if name not in masks.masks:
            assert torch.equal(parameter, before[name]), f"{name} has no scores: it stays as it is"
            continue
        assert torch.equal(masks.weights[name], before[name])
        sign = masks.scores[name].sign() if criterion == "signed-supermask" else 1
        assert torch.equal(parameter, (before[name] * sign).masked_fill(~masks.masks[name], 0))
        assert not torch.signbit(parameter[~masks.masks[name]]).any(), "0, and not −0"


@pytest.mark.parametrize("scope", ["global", "uniform", "erk", "balanced", "rowwise", "pyramid"])
def test_masks_have_the_exact_counts_of_the_scope_at_every_step(scope, digits):
    stages = stages_of(config("edge-popup", scope=scope, model="lenet-300-100"), digits)
    total = pruners.kept_count(stages.total, 0.9)
    expected = pruners.prune("random", stages.model, sparsity=0.9, scope=scope)
    masks = Scores(stages.rule, stages)
    counts = []

    def between(number):
        stood_in = masks(number)
        counts.append({name: int(mask.sum()) for name, mask in masks.masks.items()})
        assert stages.training.kept == total == sum(counts[-1].values())
        return stood_in

    stages.train("sparse", 5, between)
    if scope != "global":
        assert counts == 5 * [{name: int(mask.sum()) for name, mask in expected.items()}]


@pytest.mark.slow
def test_signed_supermasks_keep_what_exceeds_the_threshold_with_either_sign(digits):
    asked = config(
        "signed-supermask", {"criterion.threshold": 0.05}, init="signed-constant", weight_decay=0.1
    )
    stages = stages_of(asked, digits)
    stages.rule.run(stages)
    recorder = stages.recorder
    kept = [row["kept"] for row in recorder.curves]
    assert kept[-1] == stages.training.kept == sum(row["kept"] for row in recorder.layers) < kept[0]
    for name, weight in pruners.prunable(stages.model).items():
        size = (2 / weight[0].numel()) ** 0.5
        values = weight.detach()[stages.masks[name]].unique()
        assert values.tolist() == pytest.approx([-size, size])
        assert int(stages.masks[name].sum()) == int((weight != 0).sum())
    outcome = recorder.outcome()
    assert outcome["kept"] == kept[-1] and outcome["density"] == kept[-1] / stages.total
    assert outcome["mean_active_params"] > kept[-1], "the masks thin out on the way"


def test_a_signed_supermask_that_hides_all_weights_is_an_outcome_and_no_error():
    result = run(Trial(config("signed-supermask", {"criterion.threshold": 9.0}, epochs=1)))
    assert (result.trial["status"], result.trial["kept"], result.trial["collapsed_layers"]) == ("ok", 0, 6)


def test_the_first_scores_are_those_of_the_papers(digits):
    fan_in, fan_out = 64, 300
    found = {}
    for name in (*FROZEN, "bip"):
        stages = stages_of(config(name, model="lenet-300-100"), digits)
        before = next(iter(pruners.prunable(stages.model).values())).detach().clone()
        found[name] = next(iter(Scores(stages.rule, stages).scores.values())).detach()
        assert found[name].shape == (fan_out, fan_in)
    for name, bound in (("edge-popup", fan_in**-0.5), ("signed-supermask", (6 / (fan_in + fan_out)) ** 0.5)):
        assert 0.99 * bound < found[name].abs().max() <= bound
        assert found[name].std() == pytest.approx(bound / 3**0.5, rel=0.02)
    assert torch.equal(found["bip"], before)
    torch.testing.assert_close(found["hydra"], before * (6 / fan_in) ** 0.5 / before.abs().max())


def test_scores_are_drawn_by_the_seed_of_masks(digits):
    def scores(**seeds):
        stages = stages_of(config("edge-popup", **seeds), digits)
        return [score.detach() for score in Scores(stages.rule, stages).scores.values()]

    first = scores()
    assert all(map(torch.equal, first, scores(init_seed=7, order_seed=7)))
    assert not any(map(torch.equal, first, scores(mask_seed=7)))
    assert not torch.equal(first[0].flatten()[:9], first[1].flatten()[:9])


def test_the_derivative_of_bip_equals_finite_differences_of_the_bilevel_problem():
    """L(z) = c·z is linear, so that no Hessian is neglected: w*(m) = −m ⊙ c/γ in closed form."""
    gamma, count = 4.0, 9
    draws = torch.Generator().manual_seed(0)
    c, m = (torch.rand(count, generator=draws, dtype=torch.float64) for _ in range(2))

    def value(mask):
        return float((c * mask * (-mask * c / gamma)).sum())

    options = rules.find("bip").options(second_order=1 / gamma)
    found = rules.find("bip").slope(options, -m * c / gamma, m, torch.ones_like(m), c)
    moves = 1e-6 * torch.eye(count, dtype=torch.float64)
    expected = [(value(m + move) - value(m - move)) / 2e-6 for move in moves]
    assert found.tolist() == pytest.approx(expected, rel=1e-6)
    mirrored = rules.find("bip").slope(options, -m * c / gamma, m, -torch.ones_like(m), c)
    assert torch.equal(mirrored, -found), "a mask follows from |score|"


def test_the_code_of_bip_squares_the_gradient_of_the_scores():
    weight, mask, gradient = (torch.tensor(values) for values in ([2.0, -3.0], [True, False], [5.0, 7.0]))
    options = rules.find("bip-code").options(second_order=0.5)
    found = rules.find("bip-code").slope(options, weight, mask, weight, gradient)
    assert found.tolist() == [10 - 0.5 * 100, 21 - 0.5 * 441]


def test_steps_of_bip_take_turns_with_a_momentum_each():
    fields = {"momentum": 0.9, "weight_decay": 0.0, "lr": 0.2}
    model, masks = one_layer("bip", **fields)
    weight, other = masks.weights["weight"], torch.zeros(4, 6)
    expected = weight.detach().clone().requires_grad_()
    reference = torch.optim.SGD([expected], lr=0.2, momentum=0.9)
    for number in range(8):
        before, scores = weight.detach().clone(), masks.scores["weight"].detach().clone()
        mask, bias = masks.masks["weight"].clone(), model.bias.detach().clone()
        step(model, masks, number)
        if number % 2:
            assert torch.equal(weight, before) and torch.equal(model.bias, bias)
            assert not torch.equal(masks.scores["weight"], scores)
        else:
            assert torch.equal(masks.scores["weight"], scores) and not torch.equal(model.bias, bias)
            draws = torch.Generator().manual_seed(number)
            inputs, targets = torch.randn(8, 6, generator=draws), torch.randn(8, 4, generator=draws)
            reference.zero_grad()
            F.mse_loss(inputs @ (mask * expected).T + bias, targets).backward()
            reference.param_groups[0]["lr"] = 0.2 / (1 + number)
            reference.step()
            torch.testing.assert_close(weight.detach(), expected.detach())
            assert not number or torch.equal(masks.masks["weight"], mask)
        assert torch.equal(model.weight, torch.where(masks.masks["weight"], weight, other))


def test_scores_and_weights_of_the_code_of_bip_are_one_tensor():
    model, masks = one_layer("bip-code", momentum=0.0, weight_decay=0.0)
    for number in range(4):
        before = masks.weights["weight"].detach().clone()
        step(model, masks, number)
        weight = masks.weights["weight"].detach()
        assert not torch.equal(weight, before), "a step on scores moves the weights"
        assert torch.equal(masks.masks["weight"], weight.abs() >= weight.abs().flatten().sort().values[12])


@pytest.mark.slow
@pytest.mark.parametrize("criterion", [*FROZEN, *BILEVEL])
def test_a_trained_mask_learns_and_its_files_hold_the_effective_weights(criterion, digits, tmp_path):
    # In the small network a tenth of the weights as they were drawn is too few to learn by.
    model, kept = ("conv-5", 9755) if criterion == "edge-popup" else ("lenet-300-100", 5020)
    fields = {"init": "signed-constant", "weight_decay": 1e-3} if criterion in FROZEN[:2] else {}
    epoch = 1 if criterion not in FROZEN[:2] else 0
    asked = Trial.of(config(criterion, model=model, prune_epoch=epoch, epochs=12, **fields))
    result = run(asked, masks=True, keeps=tmp_path)
    row = result.trial
    assert row["status"] == "ok" and row["val_accuracy"] > 0.8, row
    bits = [int.from_bytes(mask["bits"]).bit_count() for mask in result.masks]
    assert bits == [layer["kept"] for layer in result.layers] and sum(bits) == row["kept"]
    assert criterion == "signed-supermask" or row["kept"] == kept
    [path] = tmp_path.rglob("*.safetensors")
    network = stages_of(config("magnitude", model=model), digits)
    weights.load(network.model, "file", interop.weights_of(interop.load(path)))
    assert network.training.evaluate(digits.test)[1] == row["test_accuracy"]


@pytest.mark.slow
def test_hydra_prunes_at_update_end_and_trains_the_weights_after_it():
    asked = config("hydra", model="lenet-300-100", prune_epoch=1, epochs=4, update_end=0.5)
    result = run(Trial.of(asked))
    assert [(row["phase"], row["epoch"]) for row in result.curves] == [
        ("dense", 1), ("sparse", 2), ("retrain", 3), ("retrain", 4),
    ]  # fmt: skip
    row = result.trial
    assert row["pre_test_accuracy"] == result.curves[1]["test_accuracy"], "pruned where the scores end"
    assert all(layer["score_mean"] is not None for layer in result.layers)
    again = run(Trial.of(replace(asked, rewind_epoch=0)))
    assert again.trial["trained_steps"] == row["trained_steps"] + 20
    assert [r["epoch"] for r in again.curves] == [1, 2, 1, 2, 3, 4]


STUDY = "name: s\ndataset: digits\nmodel: conv-5\nepochs: 2\nsparsity: 0.9\n"


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("criterion: edge-popup\nstructure: filter", "edge-popup has a score for each single weight"),
        (
            "criterion: edge-popup\nablation: reinit",
            "edge-popup has no training after its masks: leave out ablation",
        ),
        ("criterion: bip\nretrain: bn", "bip has no training after its masks: leave out retrain"),
        ("criterion: bip\nprune_epoch: 1\nrewind_epoch: 0", "leave out rewind_epoch"),
        ("criterion: hydra\nablation: shuffle", "ablation shuffle does not apply to hydra"),
        ("criterion: hydra\nablation: invert", "hydra ranks by no score of one moment"),
        ("criterion: hydra\nprune_epoch: 0.5\nrewind_epoch: 1", "rewind_epoch lies after prune_epoch"),
        ("criterion: signed-supermask\ncriterion.threshold: -1", "threshold -1: give a number from 0 on"),
        ("criterion: bip\ncriterion.second_order: -1", "second_order -1: give a number from 0 on"),
        ("criterion: bip\ncriterion.second_ordr: 1", r"did you mean criterion\.second_order"),
        ("criterion: edge-popup\ncriterion.threshold: 1", "takes no such parameter"),
        ("criterion: edge-popup\niterations: 2", "edge-popup is one-shot"),
    ],
)
def test_what_does_not_go_with_trained_masks_is_one_line(lines, message, study_file):
    with pytest.raises(BadInput, match=message) as error:
        trials(f"{STUDY}{lines}\n", study_file)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("criterion", "fields", "message"),
    [
        ("edge-popup", {"prune_epoch": 2}, "has 0 steps after it to train masks; choose an earlier epoch"),
        ("bip", {"prune_epoch": 1.9}, "has 1 steps after it"),
        ("hydra", {"prune_epoch": 1.5}, "or a later update_end"),
    ],
)
def test_a_training_too_short_for_scores_is_refused_before_it_starts(criterion, fields, message):
    with pytest.raises(BadInput, match=message):
        rules.find(criterion).check_steps(config(criterion, **fields), lambda: 10)
    rules.find(criterion).check_steps(config(criterion), lambda: 10)


def test_fields_that_a_trained_mask_does_not_read_change_no_id():
    def same(criterion, **fields):
        return Trial.of(config(criterion, **fields)).id == Trial.of(config(criterion)).id

    assert same("signed-supermask", scope="erk", min_per_layer=3) and not same("edge-popup", scope="erk")
    assert not same("signed-supermask", mask_seed=3) and same("bip", mask_seed=3)
    assert same("bip", update_end=0.3) and not same("hydra", update_end=0.3)
