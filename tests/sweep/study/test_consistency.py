"""Which fields do not go together, and which fields no such check looks at."""

import pytest

from sweep import models, rules
from sweep.config import FIELDS, Config
from sweep.errors import BadInput
from sweep.study.consistency import UNCHECKED, Inconsistent, check, check_steps

BASE = {"dataset": "digits", "model": "conv-5", "criterion": "snip", "sparsity": 0.9}


class Watched:
    """A config that notes which of its fields are read."""

    def __init__(self, config):
        self.config, self.read = config, set()

    def __getattr__(self, name):
        self.read.add(name)
        return getattr(self.config, name)


@pytest.mark.parametrize("criterion", [*rules.RULES, "snip", "force"])
def test_no_check_reads_the_fields_whose_long_lists_a_study_need_not_multiply(criterion):
    fields = {"criterion": criterion, "epochs": 2}
    fields |= {"structure": "filter"} if criterion == "oracle" else {}
    fields |= {"sparsity": 0} if criterion == "dense" else {}
    watched = Watched(Config(**(BASE | fields)))
    check(watched)
    assert "prune_epoch" in watched.read and not watched.read & set(UNCHECKED)


@pytest.mark.parametrize("model", models.MODELS)
def test_a_model_without_bf16_is_refused_in_bf16_and_no_other(model):
    config = Config(**(BASE | {"model": model, "epochs": 2, "precision": "bf16"}))
    if models.find(model).bf16:
        check(config)
    else:
        with pytest.raises(Inconsistent, match=f"precision bf16: {model} would be computed in float16"):
            check(config)
    assert models.find(model).bf16 != model.startswith(("lstm", "gru"))


def test_a_model_that_does_not_exist_has_no_precision():
    with pytest.raises(BadInput, match="no such model: torchvision:resnet19"):
        check(Config(**(BASE | {"model": "torchvision:resnet19", "epochs": 2, "precision": "bf16"})))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"prune_epoch": 4}, "prune_epoch 4 is beyond the 35 steps of training, 10 an epoch: choose an"),
        ({"prune_epoch": 3.5, "rewind_epoch": 3.6}, "rewind_epoch 3.6 is beyond the 35 steps of training"),
        ({"prune_epoch": 3.5}, None),
        ({}, None),
    ],
)
def test_a_prune_and_a_rewind_come_within_the_steps_of_training(fields, message):
    config = Config(**(BASE | fields), steps=35)
    if message is None:
        check_steps(config, lambda: 10)
    else:
        with pytest.raises(Inconsistent) as error:
            check_steps(config, lambda: 10)
        assert str(error.value).startswith(message) and error.value.field == message.split()[0]


def test_the_steps_of_an_epoch_are_looked_up_only_where_they_matter():
    check_steps(Config(**BASE, steps=35), lambda: pytest.fail("no epoch to place"))
    check_steps(
        Config(**BASE, epochs=2, prune_epoch=2), lambda: pytest.fail("epochs are compared with epochs")
    )


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"weights": None}, "keep_mask"),
        ({"criterion": "gmp"}, "keep_mask"),
        ({"criterion": "imp"}, "keep_mask"),
        ({"structure": "filter"}, "structure"),
        ({"layers": "!*.0.weight *"}, "layers"),
        ({"ablation": "shuffle"}, "ablation"),
        ({"weights": "torchvision", "keep_mask": False}, "weights"),
    ],
)
def test_what_does_not_go_with_trained_weights(fields, field):
    base = {"dataset": "digits", "model": "conv-5", "criterion": "snip", "sparsity": 0.9, "epochs": 2}
    given = base | {"weights": "run:0123456789abcdef", "keep_mask": True}
    check(Config(**given))
    with pytest.raises(Inconsistent) as error:
        check(Config(**(given | fields)))
    assert error.value.field == field


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (
            {"structure": "channel", "scope": "erk"},
            "scope erk with structure channel: take global or uniform",
        ),
        (
            {"structure": "channel", "ablation": "shuffle"},
            "ablation shuffle permutes single weights: leave out",
        ),
        (
            {"structure": "channel", "criterion": "rigl"},
            "structure channel: rigl grows single weights, as the weights of a unit",
        ),
        (
            {"structure": "width", "scope": "balanced", "criterion": "gmp"},
            "structure width keeps the first units of each group, whatever",
        ),
        (
            {"structure": "channel", "criterion": "gmp", "retrain": "bn"},
            "gmp prunes along a training of its own: leave out retrain, retrain_epochs and retrain_loss",
        ),
        (
            {"structure": "channel", "criterion": "gmp", "shrink": True},
            "shrink: gmp does not prune once for all: leave shrink out",
        ),
        (
            {"structure": "filter", "criterion": "sap"},
            "sap prunes single weights and trains them all: leave",
        ),
        (
            {"structure": "channel", "criterion": "oracle"},
            "oracle removes filters: give it structure: filter",
        ),
        ({"structure": "block", "scope": "uniform"}, "scope uniform with structure block: take global"),
        (
            {"structure": "block", "unit_score": "group-mean"},
            "unit_score group-mean with structure block: take sum or",
        ),
        (
            {"structure": "width", "scope": "balanced"},
            "structure width keeps the first units of each group, whatever",
        ),
        (
            {"structure": "width", "scope": "balanced", "criterion": "imp"},
            "their scores: give it criterion random",
        ),
        (
            {"structure": "width", "criterion": "random"},
            "scope global with structure width: take uniform, er, erk",
        ),
        (
            {"structure": "width", "criterion": "random", "scope": "balanced", "ablation": "invert"},
            "ablation invert with structure width: no scores rank its units",
        ),
        (
            {"criterion": "imp", "structure": "channel", "retrain": "bn"},
            "imp trains all weights after each level",
        ),
        (
            {"structure": "channel", "weights": "run:0123456789abcdef", "keep_mask": True},
            "structure with keep_mask",
        ),
    ],
)
def test_what_does_not_go_with_units(fields, message):
    with pytest.raises(Inconsistent, match=message) as error:
        check(Config(**(BASE | {"epochs": 2} | fields)))
    assert error.value.field in FIELDS and "\n" not in str(error.value)


@pytest.mark.parametrize(
    "fields",
    [
        {"structure": "channel", "unit_score": "group-mean", "scope": "uniform"},
        {"structure": "block", "unit_score": "mean"},
        {"structure": "width", "criterion": "random", "scope": "balanced"},
        {"structure": "channel", "criterion": "imp"},
        {"structure": "width", "sparsity": 0, "scope": "uniform"},
    ],
)
def test_what_goes_with_units(fields):
    check(Config(**(BASE | {"epochs": 2} | fields)))


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"initial_sparsity": 0.95}, "initial_sparsity"),
        ({"criterion": "oracle", "structure": "filter"}, "initial_sparsity"),
        ({"criterion": "rigl"}, "initial_sparsity"),
        ({"structure": "filter", "sparsity": 0.6}, "initial_sparsity"),
        ({"keep_mask": True, "weights": "run:0123456789abcdef"}, "initial_sparsity"),
        ({"ablation": "shuffle"}, "ablation"),
        ({"criterion": "imp", "scope": "uniform"}, "scope"),
    ],
)
def test_what_does_not_go_with_a_random_sparse_start(fields, field):
    base = {"dataset": "digits", "model": "conv-5", "criterion": "snip", "sparsity": 0.9, "epochs": 2}
    given = base | {"initial_sparsity": 0.5}
    check(Config(**given))
    with pytest.raises(Inconsistent) as error:
        check(Config(**(given | fields)))
    assert error.value.field == field
