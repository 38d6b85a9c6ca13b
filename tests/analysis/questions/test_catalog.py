"""The table of questions is all that the command line and the report know of them."""

import inspect
from typing import Annotated

import pytest
import typer

import analysis
from analysis import __main__ as command_line
from analysis.questions import catalog
from analysis.questions.question import Question, Section
from analysis.report import report
from analysis.warehouse import rows
from tests.analysis.test_commands import run


def answer(
    connection, least: Annotated[float, typer.Option(help="the lowest test accuracy that is counted")] = 0.0
):
    counts = rows(
        connection,
        f"SELECT criterion, count(*) FROM trials WHERE test_accuracy >= {least} GROUP BY 1 ORDER BY 1",
    )
    return [{"criterion": criterion, "trials": trials} for criterion, trials in counts]


def sentences(counts):
    return [f"{one['criterion']} has {one['trials']} trials" for one in counts]


def show(page, counts):
    page.heading("How many trials has each criterion?")
    page.sentences(sentences(counts))


COUNT = Question(
    name="count",
    help="How many trials has each criterion?",
    answer=answer,
    rows=list,
    sentences=sentences,
    section=Section(find=answer, show=show),
)


@pytest.mark.slow
def test_a_question_in_the_table_is_a_command_with_its_options_and_a_section_of_the_report(made, monkeypatch):
    assert "No such command 'count'" in run("count", "--results", made).stderr
    monkeypatch.setattr(catalog, "QUESTIONS", (*catalog.QUESTIONS, COUNT))
    monkeypatch.setattr(command_line, "app", command_line.commands())
    said = run("count", "--results", made)
    assert said.returncode == 0 and said.stdout.endswith("\nrandom has 30 trials\nsnip has 15 trials\n")
    few = run("count", "--least", "0.95", "--format", "csv", "--results", made, "--where", "seed = 1")
    assert few.stdout == "criterion,trials\nrandom,1\nsnip,2\n"
    assert few.stderr == "random has 1 trials\nsnip has 2 trials\n"
    assert "the lowest test accuracy" in run("count", "--help").stdout
    assert "How many trials has each criterion?" in run("--help").stdout
    page = report.render(analysis.open(made), made)
    section = "<h2>How many trials has each criterion?</h2>"
    assert section in page and "<li>snip has 15 trials</li>" in page
    # Behind the questions whose place in the report is given, before the trials themselves.
    assert page.index("Which schedule is best?") < page.index(section) < page.index("<h2>Trials</h2>")


@pytest.mark.parametrize("question", catalog.QUESTIONS, ids=lambda question: question.name)
def test_every_question_has_a_default_for_each_of_its_options(question):
    connection, *options = inspect.signature(question.answer).parameters.values()
    assert connection.name == "connection" and question.help.endswith((".", "?"))
    assert all(option.default is not option.empty for option in options)


def test_no_two_questions_have_one_name():
    names = [question.name for question in catalog.QUESTIONS]
    assert len(set(names)) == len(names)
