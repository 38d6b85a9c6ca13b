"""Trials for whose results a condition holds, as `--rerun` names them."""

import pytest

from sweep.errors import BadInput
from sweep.store.matching import matching
from tests.sweep.store.test_marks import mark, run


@pytest.mark.slow
def test_a_condition_is_over_results_that_count_and_their_tags(tmp_path):
    for name in ("a", "b", "c"):
        run(tmp_path, name)
    run(tmp_path, "b", hours=1, status="failed")
    mark(tmp_path, "a")
    mark(tmp_path, "b", tag="odd", name="n")
    assert matching(tmp_path, "criterion = 'snip'") == {"b", "c"}, "an invalid result counts for nothing"
    assert matching(tmp_path, "list_contains(tags, 'odd')") == {"b"}
    assert matching(tmp_path, "status = 'failed' -- a comment") == set(), "a success comes before a failure"


def test_a_study_without_results_has_no_matching_trial(tmp_path):
    assert matching(tmp_path, "seed = 0") == set()


@pytest.mark.parametrize("where", ["nonsense", "", "seed = 0; DROP TABLE x", "EXISTS (FROM '/etc/passwd')"])
def test_what_is_no_condition_is_one_line(tmp_path, where):
    run(tmp_path, "a")
    with pytest.raises(BadInput, match="--rerun"):
        matching(tmp_path, where)
