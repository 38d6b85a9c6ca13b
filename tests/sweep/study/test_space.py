"""The values that a search can choose are those that its study file says."""

import optuna
import pytest

from sweep.errors import BadInput
from sweep.study import load
from sweep.study.identity import Trial

HEAD = """\
dataset: digits
model: conv-5
epochs: 2
search:
  space:
    criterion: [snip, force]
"""


def search(study_file, *lines):
    return load(study_file(HEAD + "".join(f"    {line}\n" for line in lines))).search


def test_values_that_do_not_go_together_are_refused_in_the_line_of_their_dimension(study_file):
    found = search(study_file, "sparsity: [0.9]", "iterations: [1, 3]")
    assert found.make({"criterion": "force", "sparsity": 0.9, "iterations": 3}).iterations == 3
    with pytest.raises(BadInput, match=r"small.yaml:8: iterations 3: snip is one-shot"):
        found.make({"criterion": "snip", "sparsity": 0.9, "iterations": 3})


def test_a_row_is_of_a_space_by_the_columns_that_no_trial_changes(study_file):
    found = search(study_file, "sparsity: [0.9, 0.95]")
    row = {"dataset": "digits", "model": "conv-5", "epochs": 2, "steps": None, "sparsity": 0.9, "seed": 7}
    assert found.could_hold(row), "a search runs more seeds than it is given"
    for other in ({"dataset": "mnist"}, {"model": "vgg-16"}, {"epochs": 3}, {"sparsity": 0.8}):
        assert not found.could_hold(row | other)


@pytest.mark.parametrize(
    ("criterion", "line", "value"),
    [
        ("mest", "criterion.gradient_weight: {low: 0, high: 2, step: 0.5}", 0),
        ("mest", "criterion.gradient_weight: {low: 0, high: 2, step: 0.5}", 1.5),
        ("gmp", "criterion.drop: [magnitude, snip]", "magnitude"),
        ("east", "criterion.cycles: {low: 1, high: 4}", 2),
        ("sap", "criterion.group: [layer, global]", "global"),
    ],
)
def test_a_search_knows_a_schedule_again_whose_option_of_a_rule_has_its_default(
    criterion, line, value, study_file
):
    """A config leaves the default out, so that it is the trial of a study that does not name the option."""
    base = "dataset: digits\nmodel: conv-5\nepochs: 9\nupdate_every: 2\nsparsity: 0.9\n"
    found = load(study_file(f"{base}search:\n  space:\n    criterion: [{criterion}]\n    {line}\n")).search
    chosen = {"criterion": criterion, line.partition(":")[0]: value}
    trial = Trial.of(found.make(chosen))
    assert found.chosen(trial.config) == chosen
    [plain] = load(study_file(f"{base}criterion: {criterion}\n")).trials()
    assert (plain == trial) == (value != 1.5)


STEPS = [
    ("sparsity", 0.5, 0.9, 0.05, [0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9]),
    ("lr", 0.1, 0.5, 0.1, [0.1, 0.2, 0.3, 0.4, 0.5]),
    ("lr", 0.001, 0.0035, 0.001, [0.001, 0.002, 0.003]),
    ("momentum", 0, 0.3, 0.1, [0, 0.1, 0.2, 0.3]),
    ("prune_epoch", 0, 2, 0.25, [0, 0.25, 0.5, 0.75, 1, 1.25, 1.5, 1.75, 2]),
]


@pytest.mark.parametrize(("field", "low", "high", "step", "decimals"), STEPS)
def test_a_search_with_steps_chooses_decimals_and_so_makes_the_trials_of_a_sweep(
    field, low, high, step, decimals, study_file
):
    fixed = "" if field == "sparsity" else "sparsity: [0.9]"
    found = search(study_file, f"{field}: {{low: {low}, high: {high}, step: {step}}}", fixed)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    chosen = [found.suggest(study.ask()) for _ in range(200)]
    assert sorted({values[field] for values in chosen}) == decimals
    ids = {Trial.of(found.make(values)).id for values in chosen}
    base = "dataset: digits\nmodel: conv-5\nepochs: 2\ncriterion: [snip, force]\n"
    base += "sparsity: 0.9\n" if fixed else ""
    assert ids == {trial.id for trial in load(study_file(f"{base}{field}: {decimals}\n")).trials()}
    assert all(found.dimensions[1].takes(value) for value in decimals)


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("iterations: {low: 5, high: 60, step: 2.5}", "step 2.5: input should be a valid integer"),
        ("iterations: {low: 5, high: 60, step: 0.5}", "step 0.5: input should be a valid integer"),
        ("iterations: {low: 5, high: 60, step: 0}", "step 0: input should be greater than or equal to 1"),
        ("iterations: {low: 5, high: 60, step: 56}", "step 56 is wider than the range, 5 to 60"),
        ("lr: {low: 0.02, high: 0.5, step: 3}", "step 3 is wider than the range, 0.02 to 0.5"),
        ("lr: {low: 0.02, high: 0.5, step: -1}", "step -1: input should be greater than 0"),
        ("lr: {low: 0.02, high: 0.5, step: true}", "no place for true or false"),
        ("lr: {low: 0.02, high: 0.5, step: .nan}", "step .nan: input should be"),
        ("lr: {low: 0.02, high: 0.5, step: [1]}", "one value belongs here, not a list"),
        ("lr: {low: 0.02, high: 0.5, step: !!float x}", "cannot be read as a number"),
        ("prune_epoch: {low: 0, high: 2, step: 0}", "step is a number above 0"),
        ("prune_epoch: {low: 0, high: 2, step: 010}", "no leading zeros"),
        ("lr: {low: 0.1, high: 0.5, step: 0.1, log: true}", "step is a number above 0, without log"),
        ("lr: {low: 0.02, high: 0.5, log: 'false'}", "log false: true or false belongs here, not text"),
        ("lr: {low: 0.02, high: 0.5, log: n}", "log n: true or false belongs here, not text"),
        ("lr: {low: 0.02, high: 0.5, log: 1}", "log 1: true or false belongs here"),
        ("lr: {low: 0.02, high: 0.5, log: null}", "true or false belongs here"),
        ("lr: {low: [0.02], high: 0.5}", "one value belongs here, not a list"),
        ("nesterov: {low: false, high: true}", "an empty range"),
        ("retrain_lr: {low: 0.1, high: null}", "an empty range"),
        (
            "iterations: {low: 5, high: 60, when: {criterion: magnitude}}",
            "when criterion: a value that criterion never has: iterations would never be chosen",
        ),
        ("iterations: {low: 5, high: 60, when: {criterion: [magnitude, grasp]}}", "never has"),
        ("iterations: {low: 5, high: 60, when: {criterion: []}}", "an empty list"),
    ],
)
def test_step_log_and_when_are_checked_as_their_field_is(line, why, study_file):
    with pytest.raises(BadInput, match=r"small.yaml:7: ") as error:
        search(study_file, line)
    assert why in str(error.value)


@pytest.mark.parametrize(
    ("before", "when", "holds"),
    [
        (["scope: [global, erk]"], "{scope: erk, criterion: force}", True),
        (["scope: [global, erk]"], "{scope: uniform, criterion: force}", False),
        (["prune_epoch: {low: 0, high: 2}"], "{prune_epoch: 1}", False),
        (["prune_epoch: {low: 0, high: 2, step: 0.3}"], "{prune_epoch: 0.9}", True),
        (["prune_epoch: {low: 0, high: 2, step: 0.3}"], "{prune_epoch: 1}", False),
        (["prune_epoch: {low: 0, high: 2, step: 0.3}"], "{prune_epoch: [1, 1.2]}", True),
        (["score_batches: {low: 1, high: 9}"], "{score_batches: 2..4}", True),
        (["score_batches: {low: 1, high: 9}"], "{score_batches: 10}", False),
        (["scope: {values: [global, erk], when: {criterion: snip}}"], "{scope: erk}", True),
        (
            ["scope: {values: [global, erk], when: {criterion: snip}}"],
            "{scope: erk, criterion: force}",
            False,
        ),
        (
            [
                "scope: {values: [global], when: {criterion: snip}}",
                "balanced: {values: [true], when: {scope: global}}",
            ],
            "{balanced: true, criterion: force}",
            False,
        ),
    ],
)
def test_a_condition_that_can_never_hold_is_refused(before, when, holds, study_file):
    lines = [*before, "sparsity: [0.9]", f"lr: {{low: 0.1, high: 0.2, when: {when}}}"]
    if holds:
        found = search(study_file, *lines)
        study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
        assert {"lr" in found.suggest(study.ask()) for _ in range(100)} == {True, False}
    else:
        with pytest.raises(BadInput, match="lr would never be chosen"):
            search(study_file, *lines)


def test_retraining_and_calibration_are_searched_as_they_are_swept(study_file):
    base = "dataset: text:kjv\nmodel: gpt-tiny\nepochs: 2\nprune_epoch: 1\nsparsity: 0.5\ncriterion: wanda\n"
    lines = (
        "score_domain: [all, Ruth]",
        "score_length: [8, 64]",
        "retrain: [all, lora]",
        "lora_rank: {low: 2, high: 8, step: 2, when: {retrain: [lora]}}",
        "retrain_loss: [plain, distill]",
        "distill_weight: {low: 0.5, high: 1, step: 0.25, when: {retrain_loss: [distill]}}",
    )
    text = base + "search:\n  space:\n" + "".join(f"    {line}\n" for line in lines)
    found = load(study_file(text)).search
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    chosen = [found.suggest(study.ask()) for _ in range(40)]
    trials = {Trial.of(found.make(values)).id: values for values in chosen}
    assert len(trials) > 20
    for values in trials.values():
        assert found.chosen(Trial.of(found.make(values)).config) == values
        assert ("lora_rank" in values, "distill_weight" in values) == (
            values["retrain"] == "lora",
            values["retrain_loss"] == "distill",
        )
