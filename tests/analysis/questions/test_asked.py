"""What a study asked is answered again from its results, and what others wrote in its place is not believed."""

import json

import pytest

import analysis
from analysis.questions import asked
from analysis.warehouse import provisional
from sweep.questions.asked import Asked
from sweep.questions.crossover import Crossover, Width
from sweep.store import launches, results
from tests.analysis.conftest import trial
from tests.analysis.test_commands import run

ARMS = {
    "snip": {"criterion": "snip", "scope": "global"},
    "random erk": {"criterion": "random", "scope": "erk"},
}
CHOSEN = ("seed", "sparsity")


def row(name, place, seed):
    """SNIP is above at the lower sparsity by 0.1, and below at the higher one; test data say the opposite."""
    lead = (0.1 if place < 0.9 else -0.1) * (name == "snip") + seed % 3 * (0.001 if name == "snip" else 0.002)
    fields = {"sparsity": place, "seed": seed, "val_accuracy": 0.6 + lead, "test_accuracy": 0.6 - lead}
    return trial(f"{name}-{place}-{seed}", **ARMS[name], **fields)


@pytest.fixture
def question():
    configs = {name: json.loads(row(name, 0.8, 0)["config"]) for name in ARMS}
    arms = {name: {k: v for k, v in config.items() if k not in CHOSEN} for name, config in configs.items()}
    planner = Crossover(first="snip", second="random erk", low=0.8, high=0.95, within=Width(1.0))
    return Asked(kind="crossover", planner=planner, arms=arms)


@pytest.fixture
def folder(tmp_path, question):
    rows = [row(name, place, seed) for name in ARMS for place in (0.8, 0.95) for seed in range(8)]
    results.write(tmp_path / "made", rows, [[]], [[]])
    launches.note_launch(tmp_path / "made", "made", "", {}, {"question": question.written()})
    return tmp_path / "made"


@pytest.mark.slow
def test_the_answer_is_that_of_the_planner_by_validation_and_by_test_data(folder):
    by_validation, by_test = asked.found(analysis.open(folder))
    assert (by_validation.answer.status, by_validation.trials) == ("answered", 32)
    assert by_validation.answer.numbers["bracket"] == [0.8, 0.95] and by_validation.answer.numbers["falls"]
    assert by_test.data == "test" and not by_test.answer.numbers["falls"]
    said = run("asked", "--results", folder)
    assert "made: " in said.stdout and "made: by test data of the same trials: " in said.stdout
    [first, _] = json.loads(run("asked", "--results", folder, "--format", "json").stdout)
    assert json.loads(first["numbers"])["bracket"] == [0.8, 0.95]


@pytest.mark.slow
def test_other_questions_say_that_their_intervals_are_not_for_such_trials(folder):
    connection = analysis.open(folder)
    assert any("made chose its trials by their results" in line for line in provisional(connection))
    run("report", "--results", folder.parent)
    page = (folder.parent / "report.html").read_text()
    assert "What did a study&#x27;s question find?" in page or "What did a study&#39;s question find?" in page


@pytest.mark.slow
def test_a_study_without_a_question_and_one_with_a_damaged_question_are_said_to_be_so(folder, question, made):
    assert "No study here asks a question" in run("asked", "--results", made).stdout
    assert not provisional(analysis.open(made))
    for damaged in (3, {"kind": "crossover"}, question.written() | {"arms": {"<b>": {}}}):
        launches.note_launch(folder, "made", "", {}, {"question": damaged})
        answer = run("asked", "--results", folder)
        assert answer.returncode == 0 and "made: study.json is damaged" in answer.stdout
