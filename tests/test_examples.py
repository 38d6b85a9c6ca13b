"""The examples of own parts, run as studies: each gives what its formula says, in at most 15 own lines."""

import ast
from functools import cache
from pathlib import Path

import pytest
import torch
from torch import nn

import pruners
from sweep import models
from sweep.parts import find
from sweep.study import load
from sweep.trial import run

EXAMPLES = Path(__file__).parents[1] / "examples"
STUDIES = sorted(path.stem for path in EXAMPLES.glob("*.yaml"))
# Numbers of a trial that depend on the masks and on every step of training.
OUTCOME = ("kept", "pre_train_loss", "test_loss", "test_accuracy", "mean_active_params")


@cache
def study(name):
    return load(EXAMPLES / f"{name}.yaml")


@cache
def ran(name, trial):
    """The result of a trial of an example."""
    return run(trial, metrics=study(name).metrics)


def result(name, **fields):
    """The result of the first trial of an example with these fields, such as `criterion="snip"`."""
    found = next(
        trial
        for trial in study(name).trials()
        if all(_value(trial.config, field) == value for field, value in fields.items())
    )
    return ran(name, found)


def _value(config, field):
    value = config.value(field.replace("__", "."))
    return value.partition("@")[0] if isinstance(value, str) else value


def altered(text, tmp_path, **fields):
    """The result of the first trial of an example that has other values of some fields."""
    path = tmp_path / "altered.yaml"
    given = "".join(f"{field}: {value}\n" for field, value in fields.items())
    kept = [line for line in text.splitlines(True) if line.partition(":")[0].split(".")[0] not in fields]
    path.write_text("".join(kept) + given)
    return run(load(path).trials()[0])


def built_in(name, tmp_path, **fields):
    """The result of an example with built-in parts in place of its own."""
    return altered((EXAMPLES / f"{name}.yaml").read_text(), tmp_path, **fields)


def part(name):
    """The object that an example's own part is, as trials call it."""
    [own] = study(name).parts
    return find(own)


def outcome(result):
    assert result.trial["status"] == "ok"
    return {column: result.trial[column] for column in OUTCOME}


@pytest.mark.parametrize("name", STUDIES)
def test_an_example_has_at_most_15_lines_beside_the_part_itself(name):
    lines = (EXAMPLES / f"{name}.yaml").read_text().splitlines()
    own = sum(bool(line.strip()) for line in lines)
    for file in {each.partition(":")[0] for each in study(name).parts}:
        text = (EXAMPLES / file).read_text()
        tree = ast.parse(text)
        defined = {
            number
            for node in tree.body
            if isinstance(node, ast.FunctionDef | ast.ClassDef)
            for number in range(node.lineno, node.end_lineno + 1)
        }
        own += sum(
            bool(line.strip()) and number not in defined for number, line in enumerate(text.splitlines(), 1)
        )
    assert own <= 15


def test_each_example_is_tested_here_and_each_file_belongs_to_one():
    tested = Path(__file__).read_text()
    assert not [name for name in STUDIES if f'"{name}"' not in tested]
    used = {each.partition(":")[0] for name in STUDIES for each in study(name).parts}
    assert used == {path.name for path in EXAMPLES.glob("*.py")}


@pytest.mark.slow
@pytest.mark.parametrize("name", STUDIES)
def test_each_arm_of_an_example_runs(name):
    first = {trial.arm: trial for trial in reversed(study(name).trials())}
    for trial in first.values():
        row = ran(name, trial).trial
        assert row["status"] == "ok", row.get("error")
        assert row["kept"] == pruners.kept_count(row["params"], row["sparsity"])


@pytest.mark.slow
def test_criterion_at_power_1_is_snip_and_at_power_0_magnitude(tmp_path):
    text = (EXAMPLES / "criterion.yaml").read_text().replace("criterion.py", f"{EXAMPLES}/criterion.py")
    assert outcome(result("criterion", criterion__power=1)) == outcome(
        built_in("criterion", tmp_path, criterion="snip")
    )
    nothing = altered(text.replace("[0.5, 1]", "0"), tmp_path)
    assert outcome(nothing) == outcome(built_in("criterion", tmp_path, criterion="magnitude"))


def test_criterion_keeps_the_weights_of_highest_score_by_its_formula():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 3))
    inputs, targets = torch.randn(16, 6), torch.arange(16) % 3
    masks = pruners.prune(part("criterion").load(), model, [(inputs, targets)], sparsity=0.75)
    nn.functional.cross_entropy(model(inputs), targets).backward()
    scores = torch.cat(
        [(model[i].weight.abs() * model[i].weight.grad.abs().sqrt()).flatten() for i in (0, 2)]
    )
    kept = torch.zeros_like(scores, dtype=torch.bool)
    kept[scores.topk(18).indices] = True
    assert torch.equal(torch.cat([masks[f"{i}.weight"].flatten() for i in (0, 2)]), kept)


@pytest.mark.slow
def test_plain_is_snip_for_one_batch_and_not_for_several():
    own = {"criterion": "plain.py:summed_saliency"}
    one, several = ({"score_batches": count} for count in (1, 4))
    assert outcome(result("plain", **own, **one)) == outcome(result("plain", criterion="snip", **one))
    assert outcome(result("plain", **own, **several)) != outcome(result("plain", criterion="snip", **several))


@pytest.mark.slow
@pytest.mark.parametrize(("width", "accuracy"), [(8, 0.5), (16, 0.8)])
def test_model_has_the_weights_of_its_width_and_learns(width, accuracy):
    row = result("model", model__width=width, criterion="snip").trial
    # A stem of 2×2, two blocks of 7×7 and two linear layers, and the last layer.
    assert row["params"] == 4 * width + 2 * (49 * width + 8 * width**2) + 10 * width
    assert row["kept"] == pruners.kept_count(row["params"], 0.8)
    assert row["test_accuracy"] > accuracy
    assert row["effective_density"] is not None


@pytest.mark.slow
def test_dataset_gives_its_images_and_labels():
    (images, labels), (others, _) = part("dataset")()
    assert (images.shape, others.shape, str(images.dtype)) == ((900, 1, 8, 8), (300, 1, 8, 8), "uint8")
    assert set(labels) == {0, 1, 2}
    assert result("dataset", dataset__noise=100, sparsity=0.9).trial["test_accuracy"] > 0.95
    assert part("dataset")(noise=200.0)[0][0].std() > images.std()


@pytest.mark.slow
def test_tabular_is_a_regression_whose_metrics_agree():
    found = result("tabular", criterion="snip")
    assert found.trial["test_accuracy"] > 0.8  # of a regression it is r2
    values = {row["name"]: row["value"] for row in found.metrics if row["split"] == "test"}
    (_, _), (_, targets) = part("tabular")()
    assert 1 - values["rmse"] ** 2 / targets.var() == pytest.approx(found.trial["test_accuracy"], abs=1e-4)
    assert values["spearman"] > 0.9


@pytest.mark.slow
@pytest.mark.parametrize(("times", "shares"), [(1, [1, 8, 8, 8, 8, 8]), (3, [1, 2, 4, 8, 8, 8])])
def test_rule_prunes_the_same_share_at_each_of_some_epochs(times, shares):
    found = result("rule", criterion__times=times)
    assert [row["kept"] for row in found.curves] == [
        pruners.kept_count(found.trial["params"], 1 - 1 / share) for share in shares
    ]
    phases = ["dense", *["sparse"] * times, *["retrain"] * (5 - times)]
    assert [row["phase"] for row in found.curves] == phases


@pytest.mark.slow
def test_metric_counts_errors_of_high_probability():
    sure, unsure = [10.0, 0.0], [1.0, 0.0]
    value = part("metric")(torch.tensor([sure, sure, unsure, unsure]), torch.tensor([0, 1, 0, 1]))
    assert float(value) == 0.25
    found = result("metric", criterion="random")
    values = {row["name"].partition("@")[0]: row["value"] for row in found.metrics if row["split"] == "test"}
    assert list(values) == ["top5", "ece", "metric.py:confident_errors"]
    assert 0 <= values["metric.py:confident_errors"] <= 1 - found.trial["test_accuracy"]


@pytest.mark.slow
@pytest.mark.parametrize(("gamma", "same"), [(0, "cross-entropy"), (2, "focal")])
def test_loss_is_cross_entropy_at_gamma_0_and_the_built_in_focal_at_2(tmp_path, gamma, same):
    own, other = result("loss", loss__gamma=gamma), built_in("loss", tmp_path, loss=same)
    assert outcome(own) == pytest.approx(outcome(other), rel=1e-2)


@pytest.mark.slow
def test_optimizer_steps_as_far_for_every_weight():
    weight = nn.Parameter(torch.tensor([1.0, 2.0]))
    settings = study("optimizer").trials()[0].config
    weight.grad = torch.tensor([0.1, -30.0])
    part("optimizer")([weight], settings).step()
    expected = torch.tensor([1.0, 2.0]) * (1 - settings.lr * settings.weight_decay)
    assert torch.allclose(weight, expected - settings.lr * torch.tensor([1.0, -1.0]))
    assert result("optimizer", optimizer__near=0.9).trial["test_accuracy"] > 0.9


@pytest.mark.slow
@pytest.mark.parametrize(("cycles", "rates"), [(2, [0.2, 0.1, 0.2, 0.1]), (4, [0.2] * 4)])
def test_lr_schedule_starts_again_with_each_cycle(cycles, rates):
    curves = result("lr_schedule", lr_schedule__cycles=cycles).curves
    assert [row["lr"] for row in curves] == pytest.approx(rates)


def test_init_draws_orthogonal_rows_of_the_length_that_is_given():
    [init] = study("init").parts
    arguments = (("gain", 1.4),)
    model = models.build("lenet-300-100", (1, 28, 28), 10, 0, init, init_arguments=arguments)
    for weight in pruners.prunable(model).values():
        assert torch.allclose(weight @ weight.T, 1.4**2 * torch.eye(len(weight)), atol=1e-4)


@pytest.mark.slow
def test_augment_blackens_one_square_of_each_image():
    images = torch.full((50, 1, 8, 8), 255, dtype=torch.uint8)
    cut = part("augment")(images, torch.Generator().manual_seed(0), side=2) == 0
    assert (cut.flatten(1).sum(1) == 4).all() and images.min() == 255
    places = {tuple(each.nonzero()[0].tolist()) for each in cut}
    assert len(places) > 20
    row = result("augment", augment="none").trial
    assert result("augment", augment="augment.py:cutout").trial["test_loss"] != row["test_loss"]


@pytest.mark.slow
def test_comparison_prunes_as_much_with_each_of_seven_criteria():
    names = dict.fromkeys(_value(trial.config, "criterion") for trial in study("comparison").trials())
    assert len(names) == 7
    found = [result("comparison", criterion=name, sparsity=0.95).trial for name in names]
    assert len({row["kept"] for row in found}) == 1
    accuracies = dict(zip(names, (row["test_accuracy"] for row in found), strict=True))
    assert min(accuracies, key=accuracies.get) == "random"
    assert accuracies["criterion.py:half_gradient"] > 0.8
