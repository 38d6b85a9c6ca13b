"""Trials on text: what they measure, which fields are refused, which criteria score a decoder."""

import math
import random

import pytest

from sweep import data
from sweep.config import Config
from sweep.data import TASKS, reading
from sweep.engine.preflight import check_here
from sweep.errors import BadInput
from sweep.store.states import Store
from sweep.study import consistency
from sweep.study.identity import Trial
from sweep.trial import run
from tests.sweep.trial.test_moves import Killed, attempt
from tests.sweep.trial.test_prefixes import same, together
from tests.sweep.trial.test_run import numbers

BASE = {
    "dataset": "text-file:song",
    "model": "gpt-tiny",
    "init": "gpt",
    "optimizer": "adamw",
    "lr": 3e-3,
    "weight_decay": 0,
    "batch_size": 8,
    "score_batch_size": 4,
    "score_batches": 1,
    "criterion": "snip",
    "sparsity": 0.5,
    "scope": "uniform",
    "steps": 2,
    "dataset.length": 16,
}


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """A text in which a letter says which one follows."""
    folder = tmp_path_factory.mktemp("texts")
    (folder / "song").mkdir()
    draw = random.Random(0)
    for name, size in (("train", 4000), ("test", 1200)):
        words = " ".join(draw.choice(["abc", "def", "ghi"]) for _ in range(size // 4))
        (folder / "song" / f"{name}.txt").write_text(words)
    yield folder
    reading.find.cache_clear(), data.load.cache_clear()


def config(**fields):
    given = BASE | fields
    own = tuple(sorted((name, value) for name, value in given.items() if "." in name))
    return Config(**{name: value for name, value in given.items() if "." not in name}, parameters=own)


@pytest.mark.slow
def test_a_decoder_learns_a_text_and_says_how_many_bits_a_byte_takes(root):
    trial = Trial.of(config(steps=60, prune_epoch=1))
    result = run(trial, root, metrics=["token-accuracy", "bits_per_byte"])
    row = result.trial
    assert row["status"] == "ok" and row["headline"] == "token-accuracy"
    # Two letters of four are certain; the first of a word is one of three.
    assert row["test_accuracy"] > 0.6
    values = {(each["name"], each["split"]): each["value"] for each in result.metrics}
    assert values["bits_per_byte", "test"] == pytest.approx(row["test_loss"] / math.log(2), rel=1e-5)
    assert values["bits_per_byte", "test"] > math.log2(3) / 4, "no better than the text allows"
    assert values["token-accuracy", "test"] == pytest.approx(row["test_accuracy"])
    assert repr(numbers(run(trial, root))) == repr(numbers(run(trial, root))), "bit-equal"


@pytest.mark.slow
@pytest.mark.parametrize(
    "criterion", ["magnitude", "wanda", "gblm", "fisher-pruning", "iter-snip", "ntk-sap"]
)
def test_a_criterion_scores_a_decoder(root, criterion):
    result = run(Trial.of(config(criterion=criterion)), root)
    assert result.trial["status"] == "ok"
    assert result.trial["density"] == pytest.approx(0.5, abs=1e-3)


RETRAINED = [
    {"sparsity": 0, "steps": 10},
    *(
        {"criterion": "magnitude", "steps": 10, "prune_epoch": 0.2, **fields}
        for fields in (
            {"retrain": "bn", "retrain_epochs": 0.2},
            {"retrain_loss": "distill", "distill_temperature": 2},
            {"criterion": "gaprune", "score_length": 8, "retrain": "lora", "retrain_loss": "distill"},
        )
    ),
]


@pytest.mark.slow
def test_trials_of_a_text_share_training_and_a_teacher_and_change_no_number(root, tmp_path):
    trials = [Trial.of(config(**fields)) for fields in RETRAINED]
    shared, _ = together(trials, Store(tmp_path), root)
    same(shared, [run(trial, root) for trial in trials])
    assert {result.trial["status"] for result in shared} == {"ok"}


@pytest.mark.slow
@pytest.mark.parametrize("fields", RETRAINED[2:], ids=lambda fields: "-".join(map(str, fields.values())))
def test_a_killed_trial_of_a_text_goes_on_where_it_was(root, tmp_path, fields):
    trial = Trial.of(config(**fields))
    whole = run(trial, root, masks=True)
    with pytest.raises(Killed):
        attempt(trial, root, Store(tmp_path), at=(8,), dies=9)
    again = attempt(trial, root, Store(tmp_path))
    assert numbers(again) == numbers(whole) and whole.masks, "masks and steps of the trial's own included"


@pytest.mark.parametrize("criterion", ["synflow", "synflow-l2", "px", "lrp"])
def test_a_criterion_that_needs_other_inputs_says_so_in_one_line(root, criterion):
    with pytest.raises((BadInput, ValueError), match=criterion) as caught:
        run(Trial.of(config(criterion=criterion)), root)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "fields", [{"augment": "flip"}, {"stratified": True}, {"balanced": True}, {"score_loss": "logit"}]
)
def test_a_field_of_images_is_refused_in_one_line(root, fields):
    asked = config(**fields)
    with pytest.raises(BadInput, match=next(iter(fields))) as caught:
        consistency.check(asked)
        consistency.check_form(asked, data.check(asked.dataset, root, asked.arguments("dataset")))
    assert "\n" not in str(caught.value)


def test_an_image_network_on_a_text_is_refused_before_a_launch(root):
    with pytest.raises(BadInput, match="needs real numbers"):
        check_here([Trial.of(config(model="lenet-300-100"))], str(root), 0, False)


def test_the_task_gives_each_token_outputs_of_its_own():
    assert TASKS[data.LANGUAGE].places((16,)) == (16,)
