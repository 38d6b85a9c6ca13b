"""Trials that remove heads, neurons or blocks of a decoder, or spread sparsity by what the network says."""

import itertools

import pytest

import pruners
from sweep.config import Config
from sweep.errors import BadInput
from sweep.study import consistency
from sweep.study.identity import Trial
from sweep.trial import run
from sweep.trial.prefixes import Shared
from tests.sweep.trial.test_run import numbers
from tests.sweep.trial.test_text import config, root

__all__ = ["root"]

UNITS = {"layers": "* !head.*", "unit_score": "mean", "scope": "global"}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("structure", "criterion"),
    [("head", "flap"), ("neuron", "activation"), ("head+neuron", "flap"), ("depth", "block-influence")],
)
def test_a_smaller_decoder_is_trained_as_the_masked_one_is_but_for_rounding(root, structure, criterion):
    fields = UNITS | {"structure": structure, "criterion": criterion, "sparsity": 0.4, "steps": 4}
    small = run(Trial.of(config(**fields, shrink=True)), root, masks=True)
    masked = run(Trial.of(config(**fields)), root, masks=True)
    assert small.trial["status"] == masked.trial["status"] == "ok"
    assert small.trial["kept"] == masked.trial["kept"]
    assert small.masks == [row | {"trial_id": small.trial["trial_id"]} for row in masked.masks]
    assert small.trial["flops"] < masked.trial["flops"]
    for column in ("pre_test_loss", "test_loss"):
        assert small.trial[column] == pytest.approx(masked.trial[column], rel=1e-5)


@pytest.mark.slow
def test_along_training_a_scope_asks_at_each_update_from_its_last_answer_on(root, monkeypatch):
    """Adapt-Pruner's accumulation; units leave for good, and their counts are exact whatever it asks for."""
    answers, plain = [], pruners.asked_densities

    def noted(scope, *args, sparsity, last, **more):
        answers.append((float(1 - sparsity), last, plain(scope, *args, sparsity=sparsity, last=last, **more)))
        return answers[-1][2]

    monkeypatch.setattr(pruners, "asked_densities", noted)
    fields = {"criterion": "gmp", "structure": "neuron", "scope": "block-influence", "update_every": 2}
    result = run(Trial.of(config(**(UNITS | fields), steps=12)), root, masks=True)
    densities = [density for density, *_ in answers]
    assert len(answers) == 4 and densities == sorted(densities, reverse=True) and densities[-1] == 0.5
    assert answers[0][1] == (1.0, {})
    for (density, _, found), (_, last, _) in itertools.pairwise(answers):
        assert last == (density, found)
    kept = [row["kept"] for row in result.layers if row["name"].endswith("down.weight")]
    assert sum(kept) == 64 * 3 * 176 // 2 and len(set(kept)) > 1


@pytest.mark.slow
@pytest.mark.parametrize("scope", pruners.BUDGETS)
def test_a_scope_that_asks_the_network_gives_equal_numbers_with_and_without_shared_scores(root, scope):
    """Scores that two trials share come from a cache for the second: what the scope draws changes nothing."""
    asked = [Trial.of(config(criterion="wanda", scope=each)) for each in ("global", scope)]
    shared = Shared()
    together = [numbers(run(each, root, shared=shared)) for each in asked]
    alone = [numbers(run(each, root)) for each in asked]
    assert repr(together) == repr(alone)
    assert repr(numbers(run(asked[1], root, shared=shared))) == repr(alone[1])


def test_a_scope_that_looks_at_data_is_read_with_its_batches_whatever_the_criterion_is():
    plain = [Trial.of(config(criterion="magnitude", score_batches=n)).id for n in (1, 2)]
    asking = [Trial.of(config(criterion="magnitude", scope="owl", score_batches=n)).id for n in (1, 2)]
    assert plain[0] == plain[1] and asking[0] != asking[1]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (
            {"scope": "block-influence", "criterion": "gmp"},
            "block-influence: gmp does not ask for its densities: take a criterion",
        ),
        (
            {"scope": "block-influence", "criterion": "imp", "structure": "head"},
            "imp does not ask for its densities",
        ),
        (
            {"scope": "owl", "criterion": "gmp"},
            "scope owl: gmp does not ask for its densities: take a criterion that prunes once",
        ),
        (
            {"scope": "ecoflap", "structure": "head"},
            "scope ecoflap with structure head: take global, uniform",
        ),
        (
            {"structure": "depth", "criterion": "flap", "scope": "global"},
            "structure depth: no weight reads its units alone, by which flap ranks: take one of channel, width, head",
        ),
        ({"structure": "head+neuron", "criterion": "imp", "scope": "global"}, "and imp counts units: take a"),
        ({"structure": "filter", "criterion": "activation"}, "structure filter: no weight reads its units"),
    ],
)
def test_what_does_not_go_together_is_refused_in_one_line(fields, message):
    with pytest.raises(BadInput, match=message) as caught:
        consistency.check(config(**fields))
    assert "\n" not in str(caught.value)


def test_the_newer_choices_change_no_id_of_a_trial_without_them():
    given = {"dataset": "digits", "model": "lenet-300-100", "criterion": "snip", "sparsity": 0.5, "epochs": 1}
    assert Trial.of(Config(**given)).id == "48b1681c284f05db"
