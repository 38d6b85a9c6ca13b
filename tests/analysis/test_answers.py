"""Questions asked from Python: each of the command line, with the same words and options, safe in a notebook."""

import inspect

import duckdb
import pytest

import analysis
from analysis import answers
from analysis.questions import catalog
from sweep.errors import BadInput
from tests.analysis.conftest import trial
from tests.analysis.questions.test_catalog import COUNT
from tests.analysis.test_commands import run

COMMANDS = [question for question in catalog.QUESTIONS if question.is_command]
HOSTILE = "<script>alert(1)</script>\x1b[2J"


@pytest.mark.slow
@pytest.mark.parametrize("question", COMMANDS, ids=lambda question: question.name)
def test_an_answer_prints_as_its_command_and_has_its_rows(question, made):
    said = run(question.name, "--results", made)
    try:
        answer = getattr(analysis, question.name)(made)
    except BadInput as error:
        assert said.returncode == 2 and said.stderr == f"{' '.join(str(error).split())}\n"
        return
    assert str(answer).split() == said.stdout.split() and repr(answer) == str(answer)
    table = run(question.name, "--format", "csv", "--results", made)
    assert table.stdout.count("\n") == len(answer.rows) + 1 == len(answer.df()) + 1
    assert table.stdout.partition("\n")[0] == ",".join(answer.df().columns)
    html = answer._repr_html_()
    assert html.count("<tr>") == (len(answer.rows) + 1 if answer.rows else 0) and html.count("<li>") == len(
        answer.sentences
    )


@pytest.mark.parametrize("question", COMMANDS, ids=lambda question: question.name)
def test_a_question_is_a_function_with_the_options_of_its_command(question):
    function = getattr(analysis, question.name)
    own = list(inspect.signature(question.answer).parameters)[1:]
    takes = inspect.signature(function).parameters
    assert {*own, "results", "study", "where"} == takes.keys() - {"metric"}
    assert ("metric" in takes) == question.about_accuracy
    assert function.__doc__.startswith(question.help)
    assert all(f"    {name}: " in function.__doc__ for name in takes)
    assert question.name in dir(analysis)


@pytest.mark.slow
def test_a_question_in_the_table_is_a_function_at_once(made, monkeypatch):
    assert not hasattr(analysis, "count")
    monkeypatch.setattr(catalog, "QUESTIONS", (*catalog.QUESTIONS, COUNT))
    assert analysis.count(made, least=0.95, where="seed = 1").sentences == [
        "random has 1 trials",
        "snip has 2 trials",
    ]
    assert "the lowest test accuracy" in analysis.count.__doc__


@pytest.mark.slow
def test_options_narrow_and_name_as_those_of_the_command(made):
    said = run("crossover", "snip", "random:erk", "--results", made, "--where", "sparsity > 0.9")
    for results in (made, str(made), analysis.Results(made)):
        answer = analysis.crossover(results, "snip", "random:erk", where="sparsity > 0.9")
        assert str(answer).split() == said.stdout.split()
    assert analysis.crossover(made, second="random:erk", first="snip").rows[0]["second"] == "random erk"


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (lambda made: analysis.crossover(made, "snap"), "snap: no trials of it; there are: "),
        (lambda made: analysis.crossover(made, first=3), "first=3: input should be a valid string"),
        (lambda made: analysis.seeds(made, difference=0), "difference=0: give a number from 1e-09 on"),
        (lambda made: analysis.correlation(made, after="x"), "after='x': input should be "),
        (lambda made: analysis.best("nowhere"), "nowhere: no such folder"),
        (lambda made: analysis.best(made, study="other"), "no trials of it here; there are: made"),
        (lambda made: analysis.best(made).plot("x"), "x: no such chart; there are: "),
        (lambda made: analysis.cost(made).plot(), "cost: this answer has no chart: df() has its rows"),
        (lambda made: analysis.Results(made).sql("DROP VIEW trials"), "one query only: a SELECT, "),
        (lambda made: analysis.Results(made).sql("SELECT x FROM trials"), '"x" not found'),
        (lambda made: analysis.Results("nowhere").trials(), "nowhere: no such folder"),
    ],
)
def test_what_cannot_be_asked_is_one_line(ask, message, made):
    with pytest.raises(BadInput) as error:
        ask(made)
    assert message in str(error.value)


def test_an_argument_that_no_question_has_is_told_as_python_does(made):
    with pytest.raises(TypeError, match="frist"):
        analysis.crossover(made, frist="snip")
    with pytest.raises(AttributeError, match="module 'analysis' has no attribute 'crosover'"):
        analysis.crosover  # noqa: B018


@pytest.mark.slow
def test_text_of_others_is_no_markup_and_moves_no_cursor(made, add):
    add(
        *(
            trial(f"hostile-{seed}-{sparsity}", criterion=HOSTILE, sparsity=sparsity, seed=seed, test_accuracy=0.5 + seed / 100,
                  val_accuracy=0.5, density=1 - sparsity, wall_seconds=1.0, device=HOSTILE)
            for seed in range(3) for sparsity in (0.8, 0.9)
        )
    )  # fmt: skip
    for name in ("crossover", "best", "cost"):
        answer = getattr(analysis, name)(made)
        drawn = [figure.to_json() for figure in answer.charts.values()]
        assert "<script" not in "".join([answer._repr_html_(), *drawn]), name
        assert "\x1b" not in str(answer), name
        assert "script" in str(answer), name
    assert analysis.Results(made)._repr_html_().startswith("<p>&lt;results ")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "titles"),
    [("crossover", 1), ("best", 2), ("correlation", 1), ("aggregate", 1), ("regimes", 0), ("seeds", 0)],
)
def test_the_charts_of_an_answer_are_those_of_the_report(name, titles, made):
    answer = getattr(analysis, name)(made)
    assert len(answer.charts) == titles
    if titles:
        assert answer.plot() is next(iter(answer.charts.values()))
        assert answer.plot([*answer.charts][-1]).data


@pytest.mark.slow
def test_a_map_is_drawn_over_the_fields_that_were_asked_for(made, add):
    add(
        *(
            trial(f"late-{seed}-{sparsity}", prune_epoch=2, sparsity=sparsity, seed=seed, test_accuracy=0.5)
            for seed in range(2) for sparsity in (0.8, 0.9)
        )
    )  # fmt: skip
    drawn = [figure.layout.yaxis.title.text for figure in analysis.regimes(made).charts.values()]
    assert drawn and set(drawn) == {"prune epoch (temperature)"}
    assert not analysis.regimes(made, x="criterion").charts, "a field of names has no axis"


def test_a_study_that_runs_makes_an_answer_provisional(made, monkeypatch):
    monkeypatch.setattr(
        answers.warehouse, "provisional", lambda connection: ["Provisional: 45 of 90 trials of <made>."]
    )
    answer = analysis.accuracy(made)
    assert str(answer).startswith("Provisional: 45 of 90 trials of <made>.\n")
    assert "<li>Provisional: 45 of 90 trials of &lt;made&gt;.</li>" in answer._repr_html_()


@pytest.mark.slow
def test_results_are_relations_for_pandas_polars_and_arrow(made):
    results = analysis.Results(made)
    assert repr(results) == f"<results {made}: 45 ok>"
    chosen = results.trials().filter("seed = 0").project("criterion, sparsity")
    assert isinstance(chosen, duckdb.DuckDBPyRelation)
    assert len(chosen.df()) == len(chosen.pl()) == chosen.to_arrow_table().num_rows == 15
    for table in (results.curves(), results.layers(), results.metrics()):
        assert "trial_id" in table.columns and not table.fetchall()
    joined = results.sql(
        "SELECT criterion, count(*) FROM trials SEMI JOIN trials AS t USING (trial_id) GROUP BY 1 ORDER BY 1"
    )
    assert joined.fetchall() == [("random", 30), ("snip", 15)]
