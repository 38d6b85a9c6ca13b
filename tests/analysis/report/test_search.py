"""What a search found, in the report."""

import json
import subprocess
import sys

import pytest

import analysis
from analysis.report import report

ANSWER = {
    "study": "made", "sampler": "tpe", "objectives": ["accuracy", "density"], "seeds": 3, "trials": 20, "stopped": 4,
    "known": 2, "importances": {"accuracy": {"lr": 0.7, "scope": 0.3}},
    "best": [
        {"schedule": {"criterion": "snip", "lr": 0.1}, "val_accuracy": [0.90, 0.92, 0.94],
         "test_accuracy": [0.89, 0.9, 0.91], "density": 0.1, "cost": 12000.0},
        {"schedule": {"criterion": "<force>", "lr": 0.2}, "val_accuracy": [0.8, 0.8, 0.8],
         "test_accuracy": [0.7, 0.7, 0.7], "density": 0.01, "cost": 1200.0},
    ],
}  # fmt: skip


def page(folder):
    return report.render(analysis.open(folder), folder)


@pytest.mark.slow
def test_the_report_has_the_answer_of_a_search(made):
    assert "What did the search find?" not in page(made)
    (made / "search.json").write_text(json.dumps(ANSWER))
    for folder in (made, made.parent):
        text = page(folder)
        assert "20 trials run, 4 of them stopped early; 2 schedules known before; sampler tpe" in text
        assert "criterion=snip lr=0.1" in text and "0.920 ± 0.050" in text and "0.900 ± 0.025" in text
        assert "what mattered for accuracy: lr 70%, scope 30%" in text
        assert 'aria-label="Front of made"' in text and "accuracy against density" in text
        assert "criterion=&lt;force&gt;" in text and "<force>" not in text


@pytest.mark.slow
def test_of_one_objective_there_is_no_front_and_of_no_answer_no_table(made):
    (made / "search.json").write_text(json.dumps(ANSWER | {"objectives": ["accuracy"]}))
    assert "Front of made" not in page(made)
    (made / "search.json").write_text(json.dumps(ANSWER | {"best": [], "stopped": 0}))
    text = page(made)
    assert (
        "no schedule has 3 seeds yet" in text
        and "multiply-adds</th>" not in text
        and "20 trials run;" in text
    )


@pytest.mark.slow
def test_a_damaged_answer_is_said_to_be_so_and_the_rest_is_there(made):
    for damage in ("{", "[]", json.dumps({"study": "made"})):
        (made / "search.json").write_text(damage)
        text = page(made)
        assert "search.json: damaged" in text and "Where does a criterion fall below random?" in text


@pytest.mark.slow
def test_the_report_needs_neither_torch_nor_ray_nor_optuna():
    code = "import sys, analysis.report.report; print([m for m in ('torch', 'ray', 'optuna') if m in sys.modules])"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert said.strip() == "[]"
