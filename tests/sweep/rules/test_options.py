"""Options of a built-in rule are parameters of a study, as those of a criterion are."""

from dataclasses import dataclass

import pytest

from sweep import rules
from sweep.errors import BadInput
from sweep.rules.rule import Rule
from sweep.study import library
from tests.sweep.study.test_study import trials


@dataclass(frozen=True)
class Options:
    share: float = 0.5
    late: bool = False


class Half(Rule):
    name = "half"
    options = Options

    def reads(self, config):
        return frozenset()


@pytest.fixture
def half(monkeypatch):
    monkeypatch.setitem(rules.RULES, "half", Half())
    library._of_built_in.cache_clear()
    yield
    library._of_built_in.cache_clear()


STUDY = "name: s\ndataset: digits\nmodel: lenet-300-100\nepochs: 1\ncriterion: half\nsparsity: 0.5\n"


def test_a_study_sets_the_options_of_a_rule_and_a_default_changes_no_id(half, study_file):
    plain, same, other = (
        trials(STUDY + line, study_file)[0] for line in ("", "criterion.share: 0.5\n", "criterion.share: 1\n")
    )
    assert plain.id == same.id != other.id
    assert Half().chosen(plain.config) == Options()
    assert Half().chosen(other.config) == Options(share=1.0)


def test_an_unknown_option_is_refused_with_the_nearest_one(half, study_file):
    with pytest.raises(BadInput, match=r"did you mean criterion\.share"):
        trials(STUDY + "criterion.shares: 1\n", study_file)
