import re
from pathlib import Path

import pytest

import analysis
from analysis.labels import CHOICE
from analysis.warehouse import query
from sweep import results
from sweep.config import FIELDS, Config, Trial
from sweep.trial import identity

NAMES = sorted(path.stem for path in (Path(analysis.__file__).parent / "queries").glob("*.sql"))


@pytest.mark.parametrize("name", NAMES)
def test_each_query_runs_as_it_is_and_says_what_its_columns_are(name, made):
    text = query(name)
    head = text[: re.search(r"^[^-]", text, re.MULTILINE).start()]
    assert "?" in head and "\n-- One row" in head
    answer = analysis.open(made).sql(text)
    for column in answer.columns:
        assert re.search(rf"\b{column}\b", head), f"{name}.sql does not say what {column} is"


def test_the_arm_of_results_from_before_that_column_is_what_a_trial_says_of_itself(tmp_path):
    """A config less seed and sparsity, which are neighbours there."""
    trials = [
        Trial.of(Config(dataset="digits", model="conv-5", criterion=c, epochs=1, sparsity=s, seed=seed))
        for c, s, seed in (("snip", 0.5, 0), ("snip", 0.99999, 12), ("dense", 0, 3), ("force", 1e-7, 2**62))
    ]
    assert trials[0].arm == trials[1].arm and len({trial.arm for trial in trials}) == 3
    for column in ("arm", "nothing"):
        rows = [{**identity(trial), "status": "ok", "nothing": None} for trial in trials]
        old = [{**row, "arm": row[column]} for row in rows]
        results.write(tmp_path / column, old, [[]], [[]])
        found = analysis.open(tmp_path / column).execute("SELECT trial_id, arm FROM trials").fetchall()
        assert dict(found) == {trial.id: trial.arm for trial in trials}


@pytest.mark.parametrize("name", ["crossover", "correlation"])
def test_queries_and_labels_take_the_same_fields_for_the_choice_of_a_mask(name):
    [fields] = re.findall(r"json_merge_patch\(arm, '(.*?)'\)", query(name), re.DOTALL)
    assert set(re.findall(r'"(\w+)": null', fields)) == set(CHOICE) <= set(FIELDS)
