"""The batches that score: of one domain, of some length, and beside them batches of all domains."""

from dataclasses import replace

import pytest
import torch

from sweep import data
from sweep.config import Config
from sweep.data import Form, texts
from sweep.errors import BadInput
from sweep.rules import find
from sweep.study import consistency
from sweep.study.identity import Trial
from sweep.trial import network
from sweep.trial.scoring import ScoringData, choose

TEXT = {
    "dataset": "text:kjv",
    "model": "gpt-tiny",
    "init": "gpt",
    "criterion": "snip",
    "sparsity": 0.5,
    "steps": 2,
    "score_batch_size": 8,
    "score_batches": 3,
}


def config(**fields):
    return Config(**(TEXT | fields))


@pytest.fixture(scope="module")
def kjv(tmp_path_factory):
    yield data.load("text:kjv", tmp_path_factory.mktemp("texts"), 0.1, 0)
    data.reading.find.cache_clear(), data.load.cache_clear()


def rows(batches):
    return {bytes(window.tolist()) for inputs, _ in batches for window in inputs}


def test_windows_that_score_are_training_windows_of_the_domain(kjv):
    drawn = ScoringData(config(score_domain="Ruth", score_batch_size=64), kjv)
    places, windows = texts.books()["Ruth"], kjv.train.pixels
    own = {bytes(windows[place].tolist()) for place in places}
    validating = set(range(len(windows))) - set(kjv.places.tolist())
    assert rows(drawn) <= own and not validating & set(places), "Ruth trains as a whole in this split"
    general = rows(drawn.general)
    trained = {bytes(windows[place].tolist()) for place in kjv.places.tolist()}
    assert len(general) > 150 and len(general & own) < 10 and general <= trained


def test_a_domain_that_validates_in_part_scores_with_the_rest(kjv):
    validating = set(range(len(kjv.train.pixels))) - set(kjv.places.tolist())
    [(name, places)] = [
        (name, places)
        for name, places in texts.books().items()
        if 0 < len(validating & set(places)) < len(places)
    ][:1]
    drawn = ScoringData(config(score_domain=name, score_batch_size=10**6, score_batches=1), kjv)
    [(inputs, _)] = list(drawn)
    assert len(inputs) == len(set(places) - validating) > 0


def test_a_domain_that_only_validates_is_one_line(kjv):
    without = replace(kjv, places=torch.zeros_like(kjv.places))
    with pytest.raises(BadInput, match="score_domain Ruth: no window of it is left") as caught:
        ScoringData(config(score_domain="Ruth"), without)
    assert "\n" not in str(caught.value)


def test_each_kind_of_batch_has_draws_of_its_own_and_more_batches_begin_with_fewer(kjv):
    one, same = (ScoringData(config(), kjv) for _ in range(2))
    first, again, more = list(one), list(same), list(ScoringData(config(score_batches=5), kjv))
    for pair, other, longer in zip(first, again, more[:3], strict=True):
        assert torch.equal(pair[0], other[0]) and torch.equal(pair[1], longer[1])
    assert rows(one.general) == rows(same.general), "as often as they are asked for"
    assert not rows(first) & rows(one.general)
    second = list(one)
    assert not rows(first) & rows(second) and not rows(one.general) & rows(same.general)


def test_a_shorter_window_is_the_beginning_of_the_same_window(kjv):
    whole, short = (list(ScoringData(config(score_length=length), kjv)) for length in (None, 5))
    for (inputs, targets), (first, following) in zip(whole, short, strict=True):
        assert first.shape == following.shape == (8, 5)
        assert torch.equal(inputs[:, :5], first) and torch.equal(targets[:, :5], following)


@pytest.mark.slow
def test_masks_depend_on_domain_and_length_and_on_nothing_else_of_them(kjv):
    def masks(**fields):
        asked = config(**fields)
        found = choose(asked, network.initial(asked, kjv, None), kjv).masks
        return torch.cat([mask.flatten() for mask in found.values()])

    plain = masks()
    assert torch.equal(plain, masks(score_length=64)) and torch.equal(plain, masks(retrain="lora"))
    for fields in ({"score_domain": "Ruth"}, {"score_length": 8}, {"mask_seed": 1}):
        assert not torch.equal(plain, masks(**fields)), fields


def test_fields_of_scoring_batches_matter_where_batches_score():
    asked = {"score_domain": "Ruth", "score_length": 8}
    assert Trial.of(config(criterion="magnitude", **asked)) == Trial.of(config(criterion="magnitude"))
    assert Trial.of(config(sparsity=0, **asked)) == Trial.of(config(sparsity=0))
    one, other = Trial.of(config(**asked)), Trial.of(config())
    assert one.id != other.id and one.config.trunk == other.config.trunk
    along = config(criterion="gmp", parameters=(("criterion.drop", "wanda"),), update_every=1, **asked)
    assert Trial.of(along).config.score_domain == "Ruth"
    assert {"score_domain", "score_length"} <= find("gmp").reads(along)


@pytest.mark.parametrize(
    ("fields", "form", "message"),
    [
        ({"score_length": 65}, Form((64,), data.LANGUAGE, False, torch.int64), "a window of text:kjv has 64"),
        (
            {"score_length": 5, "dataset": "digits", "model": "conv-5"},
            Form((1, 8, 8)),
            "score_length is for text",
        ),
        ({"score_domain": "Rut"}, None, "did you mean Ruth?"),
        ({"score_domain": "Ruth", "dataset": "digits", "model": "conv-5"}, None, "digits has no domains"),
    ],
)
def test_a_field_that_does_not_go_with_the_data_is_one_line(fields, form, message):
    asked = config(**fields)
    with pytest.raises(BadInput) as caught:
        consistency.check(asked)
        consistency.check_form(asked, form)
    assert message in str(caught.value) and "\n" not in str(caught.value)
