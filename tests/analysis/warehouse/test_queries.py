import json
import re
from pathlib import Path

import pytest

import analysis
from analysis.warehouse import query
from sweep.config import CHOICE, FIELDS, Config
from sweep.store import results
from sweep.study.identity import Trial
from tests.analysis.conftest import trial

NAMES = sorted(path.stem for path in (Path(analysis.__file__).parent / "queries").glob("*.sql"))


@pytest.mark.parametrize("name", NAMES)
def test_each_query_runs_as_it_is_and_says_what_its_columns_are(name, made):
    text = query(name)
    head = text[: re.search(r"^[^-]", text, re.MULTILINE).start()]
    assert "?" in head and "\n-- One row" in head
    answer = analysis.open(made).sql(text)
    for column in answer.columns:
        assert re.search(rf"\b{column}\b", head), f"{name}.sql does not say what {column} is"


@pytest.mark.slow
def test_the_arm_of_results_from_before_that_column_is_what_a_trial_says_of_itself(tmp_path):
    """A config less seed and sparsity, which are neighbours there."""
    trials = [
        Trial.of(Config(dataset="digits", model="conv-5", criterion=c, epochs=1, sparsity=s, seed=seed))
        for c, s, seed in (("snip", 0.5, 0), ("snip", 0.99999, 12), ("dense", 0, 3), ("force", 1e-7, 2**62))
    ]
    assert trials[0].arm == trials[1].arm and len({trial.arm for trial in trials}) == 3
    for column in ("arm", "nothing"):
        rows = [{**trial.columns(), "status": "ok", "nothing": None} for trial in trials]
        old = [{**row, "arm": row[column]} for row in rows]
        results.write(tmp_path / column, old, [[]], [[]])
        found = analysis.open(tmp_path / column).execute("SELECT trial_id, arm FROM trials").fetchall()
        assert dict(found) == {trial.id: trial.arm for trial in trials}
        settings = analysis.open(tmp_path / column).execute("SELECT arm FROM settings").fetchall()
        assert sorted(settings) == sorted({(trial.arm,) for trial in trials})


@pytest.mark.slow
def test_the_setting_of_an_arm_is_what_its_config_has_beside_the_choice_of_the_mask(made):
    assert set(CHOICE) <= set(FIELDS)
    found = analysis.open(made).execute("FROM settings").fetchall()
    arms = analysis.open(made).execute("SELECT DISTINCT arm FROM trials").fetchall()
    assert {arm for arm, _ in found} == {arm for (arm,) in arms} and len(found) == len(arms)
    for arm, setting in found:
        assert json.loads(setting) == {
            k: v for k, v in json.loads(arm).items() if k not in CHOICE and v is not None
        }


@pytest.mark.slow
def test_a_config_that_is_none_breaks_no_question_to_the_others(made):
    results.write(made, [{**trial("x", status="failed"), "config": "not json"}], [[]], [[]])
    for name in NAMES:
        assert analysis.open(made).sql(query(name)).fetchall() is not None


def test_a_sign_is_turned_also_where_only_one_of_the_two_numbers_is_chosen(tmp_path):
    """As at a prompt, where the other is left as it is."""
    rows = [
        trial(f"{seed}", seed=seed, pre_train_loss=loss, test_loss=0.5 * loss, test_accuracy=1 - loss / 4)
        for seed, loss in enumerate((0.5, 1.0, 3.0))
    ]
    results.write(tmp_path, rows, [[]], [[]])
    connection = analysis.open(tmp_path)
    for after, r, best, picked in (("test_accuracy", -1, 0.875, 0.875), ("test_loss", 1, 0.25, 0.25)):
        connection.execute(f"SET VARIABLE after = '{after}'")
        [row] = connection.sql(query("correlation")).fetchall()
        assert row[3:6] + row[7:9] == (pytest.approx(r), pytest.approx(r), best, picked, 0)
        assert sorted(row[-2]) == [0.5, 1.0, 3.0]
