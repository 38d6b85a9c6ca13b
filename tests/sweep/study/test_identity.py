import hashlib
import json
from pathlib import Path

import pydantic
import pytest
import torch

from sweep import data, models
from sweep.config import FIELDS, SEEDS, Config
from sweep.study import load
from sweep.study.identity import Trial
from sweep.trial import run, scoring
from sweep.trial.prefixes import Shared
from sweep.trial.stages import Stages
from sweep.trial.training import Training
from tests.sweep.trial.test_run import numbers


def config(**fields):
    base = {"dataset": "digits", "model": "conv-5", "criterion": "snip", "sparsity": 0.9, "epochs": 1}
    return Config(**(base | fields))


def test_the_trials_of_a_study_keep_the_ids_and_arms_of_results_on_disk():
    """A later field at its default changes no id, or finished trials would run again."""
    trials = load("studies/quickstart.yaml").trials()
    text = "".join(trial.id + trial.arm + trial.canonical for trial in trials)
    assert len(trials) == 216 and trials[0].id == "68261f0129fc3769"
    assert hashlib.sha256(text.encode()).hexdigest()[:16] == "f739fec5b434dfd1"


LATER = {
    "init_seed": 7,
    "order_seed": 7,
    "mask_seed": 7,
    "stratified": True,
    "loss": "focal",
    "weights": "run:0123456789abcdef",
}


@pytest.mark.parametrize("name", LATER)
def test_a_later_field_is_part_of_trial_and_arm_unless_it_has_its_default(name):
    plain, given = Trial.of(config()), Trial.of(config(**{name: LATER[name]}))
    assert name not in json.loads(plain.canonical)
    assert json.loads(given.canonical)[name] == json.loads(given.arm)[name] == LATER[name]
    assert given.id != plain.id and Trial.parse(given.canonical) == given


def test_a_split_that_follows_the_seed_is_part_of_the_arm_as_the_study_writes_it():
    moved, held = Trial.of(config(split_seed="seed", seed=3)), Trial.of(config(split_seed=3, seed=3))
    assert json.loads(moved.arm)["split_seed"] == "seed" and moved.arm != held.arm
    assert moved.config.roots == held.config.roots
    assert Trial.parse(moved.canonical) == moved
    assert moved.arm == Trial.of(config(split_seed="seed", seed=4)).arm


def test_a_mask_seed_makes_no_new_trial_if_the_mask_is_not_random():
    for fields in ({"sparsity": 0}, {"criterion": "imp"}, {"criterion": "gmp"}):
        assert Trial.of(config(**fields, mask_seed=7)) == Trial.of(config(**fields))
    assert Trial.of(config(criterion="set", mask_seed=7)) != Trial.of(config(criterion="set"))


def drawn(asked):
    """The random draws of a config, each kind with the other kinds held fixed."""
    loaded = data.load(asked.dataset, Path("data"), asked.validation_fraction, asked.roots.split)
    fixed = data.load(asked.dataset, Path("data"), asked.validation_fraction, 0)
    initial = Stages(asked, fixed, Shared()).model.state_dict()["0.weight"]
    # Order, augmentation and dropout all decide where a few steps lead.
    model = torch.nn.Sequential(models.build("conv-5", fixed.shape, 10, seed=1), torch.nn.Dropout(0.5))
    training = Training(asked, model, fixed)
    list(training.run(2))
    scored = models.build("conv-5", fixed.shape, 10, seed=1)
    masks = scoring.choose(asked, scored, fixed).masks["3.weight"]
    found = {"init": initial, "order": model[0][0].weight, "mask": masks, "split": loaded.validation.labels}
    return {kind: tensor.detach().numpy().tobytes() for kind, tensor in found.items()}


@pytest.mark.parametrize(
    ("fields", "held"),
    [
        ({}, {"split"}),
        ({"init_seed": 0}, {"init", "split"}),
        ({"order_seed": 0}, {"order", "split"}),
        ({"mask_seed": 0}, {"mask", "split"}),
        ({"split_seed": "seed"}, set()),
        ({"init_seed": 0, "order_seed": 0, "mask_seed": 0}, {"init", "order", "mask", "split"}),
    ],
)
@pytest.mark.parametrize("of_mask", [{}, {"score_init": "fresh"}, {"criterion": "random"}])
def test_a_fixed_stream_stays_while_the_seed_moves_the_others(fields, held, of_mask):
    asked = {"augment": "crop", **of_mask}
    one, other = drawn(config(**asked)), drawn(config(seed=1, **asked, **fields))
    assert {kind for kind in one if one[kind] == other[kind]} == held


@pytest.mark.slow
@pytest.mark.parametrize(
    "fields",
    [
        {"criterion": "set", "update_every": 2, "scope": "erk"},
        {"ablation": "reinit", "augment": "crop", "balanced": True, "random_labels": True},
        {"criterion": "force", "iterations": 2, "score_init": "fresh", "ablation": "shuffle"},
        {"criterion": "ntk-sap", "iterations": 2},
    ],
)
def test_with_every_stream_fixed_the_seed_changes_no_number(fields):
    """Each random draw of a trial belongs to one of the streams."""
    held = {name: 0 for name in SEEDS if name != "seed"}
    one, other = (numbers(run(Trial.of(config(seed=seed, **held, **fields)))) for seed in (0, 1))
    plain = numbers(run(Trial.of(config(**fields))))
    named = ("trial_id", "seed", "config", "arm")
    without = [
        [{key: value for key, value in row.items() if key not in named} for row in rows]
        for rows in (one, other, plain)
    ]
    assert without[0] == without[1] == without[2]
    moved = numbers(run(Trial.of(config(seed=1, **fields))))
    assert moved[0]["test_loss"] != one[0]["test_loss"]


@pytest.mark.parametrize("name", [name for name, field in FIELDS.items() if not field.is_required()])
def test_a_default_that_is_written_out_makes_the_same_trial(name):
    plain = Trial.of(config())
    default = FIELDS[name].default
    if (name, default) not in (("epochs", None),):
        written = Trial.of(config(**{name: default}))
        assert (written.id, written.arm, written.canonical) == (plain.id, plain.arm, plain.canonical)


def test_a_field_that_is_added_with_a_default_changes_no_id_until_it_is_given():
    @pydantic.dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
    class Later(Config):
        """A config of a later version."""

        temperature: float = 1.0

    fields = {name: getattr(config(), name) for name in FIELDS}
    now, later, given = Trial(config()), Trial(Later(**fields)), Trial(Later(**fields, temperature=2.0))
    assert (later.id, later.arm, later.canonical) == (now.id, now.arm, now.canonical)
    assert given.id != now.id and json.loads(given.arm)["temperature"] == 2


def test_trials_that_remove_filters_have_another_id_only_where_a_normalization_goes_with_them():
    """Ids of protocol 2 for all others: their numbers are as they were."""

    def protocol(**fields):
        return json.loads(Trial.of(config(**fields)).canonical)["protocol"]

    filters = {"structure": "filter"}
    assert (protocol(), protocol(**filters), protocol(**filters, model="lenet-5-caffe")) == (2, 3, 2)
    assert protocol(**filters, sparsity=0) == 2, "nothing is removed"
    assert Trial.of(config(**filters, model="lenet-5-caffe", dataset="mnist")).id == "9a87a915e8da256f"
    old = Trial.of(config(**filters)).canonical.replace('"protocol":3', '"protocol":2')
    assert Trial.of_row(hashlib.sha256(old.encode()).hexdigest()[:16], old) is None


def test_how_units_are_ranked_matters_only_where_there_are_units():
    assert Trial.of(config(unit_score="mean")) == Trial.of(config())
    asked = Trial.of(config(structure="filter", unit_score="mean"))
    assert json.loads(asked.canonical)["unit_score"] == "mean" and Trial.parse(asked.canonical) == asked
    assert "unit_score" not in json.loads(Trial.of(config(structure="filter")).canonical)


def test_random_units_are_drawn_however_units_are_ranked():
    channels = {"structure": "channel", "criterion": "random"}
    assert Trial.of(config(**channels, unit_score="mean")) == Trial.of(config(**channels))


def test_weights_and_units_share_the_scores_of_a_network():
    assert config(structure="filter", unit_score="mean").scoring == config().scoring
