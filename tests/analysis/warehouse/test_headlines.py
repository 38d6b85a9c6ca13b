"""Answers about a metric in place of the accuracy: from the table `metrics`, or another task's headline."""

import re
from functools import cache, partial

import pyarrow.parquet as pq
import pytest

import analysis
from analysis.__main__ import main
from analysis.questions import (
    accuracy,
    aggregate,
    best,
    better,
    catalog,
    correlation,
    crossover,
    effect,
    regimes,
    seeds,
    variance,
)
from analysis.report import report
from analysis.report.export import latex, write
from analysis.warehouse import ACCURACIES, headline, rows
from analysis.warehouse import queries as asked
from sweep.errors import BadInput
from sweep.store import results
from tests import commands
from tests.analysis import conftest
from tests.analysis.conftest import trial

# Each asks most questions of several hundred trials.
pytestmark = pytest.mark.slow

run = partial(commands.run, main)

# Value of each metric from an accuracy, and whether higher is better.
METRICS = {
    "twin": (lambda one: one, True),
    "reverse": (lambda one: 1 - one, True),
    "minus": (lambda one: -50 * one, True),
    "cost": (lambda one: 50 * one, False),
}


def measure(folder):
    """Add metrics of each trial that are functions of its accuracies."""
    known = rows(analysis.open(folder), "SELECT trial_id, val_accuracy, test_accuracy FROM trials")
    metrics = [
        {
            "trial_id": name,
            "name": metric,
            "split": split,
            "value": function(value),
            "higher_is_better": higher,
        }
        for name, *values in known
        for metric, (function, higher) in METRICS.items()
        for split, value in zip(("validation", "test"), values, strict=True)
    ]
    results.write(folder, [], [], [], [metrics])
    return folder


@pytest.fixture
def measured(made):
    """The made results with these metrics, for one test."""
    return measure(made)


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    """The same, for tests that add nothing."""
    yield measure(conftest.write(tmp_path_factory.mktemp("shared") / "made"))
    _ask.cache_clear()
    _opened.cache_clear()


@cache
def _opened(shared, metric=None):
    return analysis.open(shared, metric=metric)


@cache
def _ask(shared, question, metric=None, **own):
    connection = _opened(shared, metric)
    found = question.answer(connection, **own)
    return headline(connection).columns(question.rows(found)), list(question.sentences(found))


QUESTIONS = [
    crossover.QUESTION, correlation.QUESTION, best.QUESTION, accuracy.QUESTION, aggregate.QUESTION,
    better.QUESTION, effect.QUESTION, seeds.QUESTION, regimes.QUESTION,
]  # fmt: skip
# What a question must be told.
OWN = {"effect": {"field": "scope"}}


def _alike(answers, name="accuracy"):
    """Answers of accuracies: rows are summed in any order."""
    return [
        {
            key.replace(name, "accuracy").replace("at_worst", "at_chance"): pytest.approx(value, abs=1e-9)
            for key, value in row.items()
        }
        for row in answers
    ]


@pytest.mark.parametrize("question", QUESTIONS, ids=lambda question: question.name)
def test_a_metric_that_equals_the_accuracy_has_its_answer(question, shared):
    own = OWN.get(question.name, {})
    plain, said = _ask(shared, question, **own)
    named, repeated = _ask(shared, question, "accuracy", **own)  # the headline itself
    assert named == _alike(plain) and repeated == said
    found, words = _ask(shared, question, "twin", **own)
    assert plain == _alike(found, "twin") and plain
    # Intervals of accuracies alone are cut.
    uncut = [text.replace(", cut to 0 to 1", "") for text in said]
    assert [text.replace("twin", "accuracy") for text in words] == uncut


@pytest.mark.parametrize("question", QUESTIONS, ids=lambda question: question.name)
def test_a_metric_of_which_lower_is_better_has_the_answer_of_its_negative(question, shared):
    own = OWN.get(question.name, {}) | ({"difference": 0.5} if question.name == "seeds" else {})
    (minus, said), (cost, words) = (_ask(shared, question, name, **own) for name in ("minus", "cost"))
    assert len(minus) == len(cost) and len(said) == len(words)
    turned = re.compile(
        r"(mean|median|.*_minus(_half_width)?|selected_.*|difference.*|low|high|iqm.*|tau.*|rho.*|r)$"
    )
    for one, other in zip(minus, cost, strict=True):
        for key, value in one.items():
            if not turned.match(key):
                assert other[key.replace("minus", "cost")] == pytest.approx(value), key


def test_values_of_a_metric_of_which_lower_is_better_are_in_its_own_unit(shared):
    for question, keys in (
        (crossover.QUESTION, ["difference"]), (best.QUESTION, ["validation_minus", "test_minus"]),
        (accuracy.QUESTION, ["mean", "median"]), (aggregate.QUESTION, ["iqm"]), (regimes.QUESTION, ["test_minus"]),
        (correlation.QUESTION, ["tau", "rho", "r"]),
    ):  # fmt: skip
        minus, cost = (_ask(shared, question, name)[0] for name in ("minus", "cost"))
        for key in keys:
            assert [row[key] for row in minus] == [
                None if value is None else pytest.approx(-value)
                for value in (row[key.replace("minus", "cost")] for row in cost)
            ]
    assert all(
        row["low"] <= row["difference"] <= row["high"] for row in _ask(shared, crossover.QUESTION, "cost")[0]
    )
    assert "Of cost lower is better." in _ask(shared, best.QUESTION, "cost")[1][-1]


def test_a_metric_in_reverse_order_of_accuracy_has_the_reversed_answer(shared):
    plain, found = (_ask(shared, best.QUESTION, name)[0] for name in (None, "reverse"))
    for sparsity in {row["sparsity"] for row in plain}:
        one, other = (
            [row["schedule"] for row in answer if row["sparsity"] == sparsity] for answer in (plain, found)
        )
        assert one == other[::-1]
    own = {"first": "snip", "second": "random:erk"}
    plain, found = (_ask(shared, crossover.QUESTION, name, **own)[0] for name in (None, "reverse"))
    assert [row["difference"] for row in found] == [pytest.approx(-row["difference"]) for row in plain]
    won, lost = (_ask(shared, better.QUESTION, name, **own)[0] for name in (None, "reverse"))
    assert [row["probability"] for row in lost] == [pytest.approx(1 - row["probability"]) for row in won]


def test_words_of_a_metric_of_which_lower_is_better_say_which_side_is_better(shared):
    [comparison] = crossover.compare(_opened(shared, "cost"), "snip", "random:erk")
    assert comparison.headline.sign == -1 and all(
        mean.value > 0 for mean in comparison.means["snip"].values()
    )
    [sentence] = map(str, comparison.crossovers)
    # SNIP has the higher accuracy, and so the higher cost, up to .95.
    assert "certainly worse at 0.95 and certainly better at 0.98" in sentence and "above" not in sentence
    assert "Mean test cost ±" in crossover.note([comparison]) and "percent" not in crossover.note(
        [comparison]
    )
    assert "test cost, mean and" in latex(comparison)


def test_selection_is_by_validation_values_of_the_metric(tmp_path):
    trials = [
        trial(f"{name}{seed}", criterion=name, seed=seed, val_accuracy=0.5, test_accuracy=0.5, density=0.1)
        for name in ("snip", "magnitude")
        for seed in range(3)
    ]
    values = {("snip", "validation"): 1.0, ("magnitude", "validation"): 2.0, ("snip", "test"): 9.0}
    metrics = [
        {
            "trial_id": one["trial_id"], "name": "rmse", "split": split, "higher_is_better": False,
            "value": values.get((one["criterion"], split), 3.0) + one["seed"] / 100,
        }
        for one in trials
        for split in ("validation", "test")
    ]  # fmt: skip
    results.write(tmp_path, trials, [[]], [[]], [metrics])
    first, second = best.rank(analysis.open(tmp_path, metric="rmse"))
    assert (first.schedule, first.validation.value) == ("snip", pytest.approx(1.01))
    assert first.test.value == pytest.approx(9.01) and second.behind.value == pytest.approx(1.0)
    low, high = first.selected
    assert low < 9.01 < high and high - 9.01 > 9.01 - low  # corrected on the side of luck


def test_every_sentence_and_title_of_a_report_names_the_metric(shared):
    page = report.render(_opened(shared, "cost"), shared)
    body = page[page.index("<body") :]
    text = re.sub(r"<script type=.application/json. data-chart.*?</script>", "", body, flags=re.DOTALL)
    text = text[: text.index("Study files and provenance")]
    text = re.sub(r"<dl.*?</dl>", "", text, flags=re.DOTALL)  # what words mean, whatever the metric
    left = [
        line
        for line in re.findall(r".{60}accurac.{30}", text)
        if "Mean validation accuracy over seeds at" not in line
    ]
    assert not left and "validation cost" in text and "test_cost" in text


def test_unknown_metrics_and_trials_without_one(measured, add, capsys):
    with pytest.raises(
        BadInput, match=r"--metric cots: no trial has it; did you mean cost\? there are: accuracy,"
    ):
        analysis.open(measured, metric="cots")
    add(trial("late", seed=9, val_accuracy=0.5, test_accuracy=0.5))
    connection = analysis.open(measured, metric="cost")
    assert "1 of 46 finished trials have no cost: left out" in capsys.readouterr().err
    assert rows(connection, "SELECT count(*) FROM trials") == [(45,)]
    assert headline(connection).name == "cost"


def test_commands_take_a_metric(shared, tmp_path):
    asked = run("crossover", "snip", "random:erk", "--metric", "cost", "--results", shared)
    assert asked.returncode == 0 and "Mean test cost ±" in asked.stdout and "47.5" in asked.stdout
    asked = run("best", "--metric", "cost", "--format", "csv", "--results", shared)
    assert asked.stdout.splitlines()[0].startswith("setting,sparsity,rank,schedule,validation_cost,")
    unknown = run("best", "--metric", "cots", "--results", shared)
    assert (
        unknown.returncode == 2 and unknown.stderr.count("\n") == 1 and "did you mean cost?" in unknown.stderr
    )
    assert run("layers", "--metric", "cost", "--results", shared).returncode == 2
    for name, code in (("t.tex", 0), ("t.csv", 2)):
        asked = run("export", tmp_path / name, "--metric", "cost", "--results", shared)
        assert asked.returncode == code
    assert "test cost, mean" in (tmp_path / "t.tex").read_text()
    asked = run("report", "--metric", "cost", "--output", tmp_path / "r.html", "--results", shared)
    assert asked.returncode == 0 and "validation cost" in (tmp_path / "r.html").read_text()
    asked = run("sql", "SELECT count(*) AS n FROM metrics", "--format", "csv", "--results", shared)
    assert asked.stdout == f"n\n{45 * 2 * len(METRICS)}\n"
    assert "higher_is_better" in run("views", "--results", shared).stdout


def test_where_is_about_the_columns_as_written(shared):
    connection = analysis.open(shared, where="test_accuracy > 0.9", metric="cost")
    values = [value for (value,) in rows(connection, "SELECT test_accuracy FROM trials")]
    assert values and max(values) < -45


def test_lost_runs_have_the_worst_value_of_any_trial(measured, add):
    add(*(trial(f"l{n}", seed=3 + n, criterion="snip", status="diverged") for n in range(2)))
    add(*(trial(f"m{n}", seed=3 + n, criterion="random", scope="erk", status="diverged") for n in range(1)))
    [comparison] = crossover.compare(analysis.open(measured, metric="cost"), "snip", "random:erk")
    assert "at the worst cost of any trial" in str(comparison.crossovers[0])
    assert headline(analysis.open(measured, metric="cost")).of_lost("{}") == pytest.approx(
        -50 * 0.981, abs=0.5
    )


def test_two_directions_and_two_headlines_are_one_line(measured, add):
    results.write(
        measured, [], [], [],
        [[
            {"trial_id": f"snip-global-0.9-{seed}", "name": "odd", "split": "test", "value": 1.0, "higher_is_better": higher}
            for seed, higher in enumerate((True, False))
        ]],
    )  # fmt: skip
    with pytest.raises(BadInput, match="of some trials higher is better and of others lower"):
        analysis.open(measured, metric="odd")
    assert headline(analysis.open(measured)) == ACCURACIES
    add(
        *(
            trial(f"r{seed}", model="mlp", seed=seed, headline="r2", val_accuracy=-3.0, test_accuracy=-2.0)
            for seed in (0, 1)
        )
    )
    for question in QUESTIONS:
        with pytest.raises(BadInput, match=r"several headline metrics \(accuracy, r2\).*by --metric"):
            question.answer(analysis.open(measured), **OWN.get(question.name, {}))
    assert "several headline metrics" in report.render(analysis.open(measured), measured)
    # A metric that all have, or one headline.
    assert crossover.compare(analysis.open(measured, metric="accuracy"))
    [found] = crossover.compare(analysis.open(measured, where="headline = 'r2'"))
    assert found.headline.name == "r2" and found.means["snip"][0.9].value == -2.0
    assert found.table["snip"] == ["-2.000 (equal)"]


def test_a_metric_of_ones_own_is_named_without_the_code_that_it_is_of(made):
    metric = {"trial_id": "snip-global-0.9-0", "split": "test", "value": 1.0, "higher_is_better": True}
    results.write(made, [], [], [], [[metric | {"name": "my.py:f1@3f2a91bc44d0"}]])
    connection = analysis.open(made, metric="my.py:f1")
    assert headline(connection).name == "my.py:f1" and headline(connection).worst == 1.0
    results.write(made, [], [], [], [[metric | {"name": "my.py:f1@v2"}]])
    with pytest.raises(
        BadInput, match=r"of several codes; name one of: my\.py:f1@3f2a91bc44d0, my\.py:f1@v2"
    ):
        analysis.open(made, metric="my.py:f1")
    assert headline(analysis.open(made, metric="my.py:f1@v2")).name == "my.py:f1"


def test_rows_of_metrics_that_others_wrote_are_left_out_and_counted(made, capsys):
    sound = {
        "trial_id": "snip-global-0.9-0",
        "name": "ece",
        "split": "test",
        "value": 0.25,
        "higher_is_better": False,
    }
    bad = [
        {"trial_id": None}, {"split": "train"}, {"split": None}, {"value": float("nan")}, {"value": float("inf")},
        {"name": None}, {"name": ""}, {"name": " ece"}, {"name": "e\x1b[31m"}, {"name": "a\nb"}, {"name": "n" * 201},
        {"name": "a\u202eb"}, {"higher_is_better": None},
    ]  # fmt: skip
    results.write(made, [], [], [], [[sound, *(sound | one for one in bad)]])
    connection = analysis.open(made)
    assert rows(connection, "FROM metrics") == [tuple(sound.values())]
    assert f"{len(bad)} rows of no metric: left aside" in capsys.readouterr().err
    # The name of a metric that is no harm to SQL.
    results.write(made, [], [], [], [[sound | {"name": "a'\"b"}]])
    assert headline(analysis.open(made, metric="a'\"b")).worst == -0.25


def test_a_value_that_was_not_finite_is_a_lost_trial(made):
    metric = {"trial_id": "snip-global-0.9-0", "name": "mcc", "value": None, "higher_is_better": True}
    results.write(made, [], [], [], [[metric | {"split": split} for split in ("validation", "test")]])
    [row] = accuracy.QUESTION.rows(accuracy.answer(analysis.open(made, metric="mcc")))
    assert (row["trials"], row["lost"], row["mean"]) == (0, 1, None)


def test_results_from_before_the_table_and_the_column_are_read_as_before(made):
    for part in (made / "trials").glob("part-*"):
        table = pq.read_table(part)
        pq.write_table(table.drop_columns(["headline"]), part)
    connection = analysis.open(made)
    assert rows(connection, "SELECT count(*), count(headline) FROM trials") == [(45, 0)]
    assert rows(connection, "FROM metrics") == [] and headline(connection) == ACCURACIES
    assert not (made / "metrics").exists()
    with pytest.raises(BadInput, match="there are: accuracy"):
        analysis.open(made, metric="ece")


def test_an_export_has_a_column_for_each_metric_and_split(shared, tmp_path):
    [path] = write(_opened(shared), tmp_path / "all.parquet")
    table = pq.read_table(path).to_pylist()
    assert len(table) == 45
    assert all(row["cost_test"] == pytest.approx(50 * row["test_accuracy"]) for row in table)


def test_views_that_are_defined_again_stay_narrowed_and_keep_the_metric(measured):
    connection = analysis.open(measured, where="criterion = 'snip'", metric="cost")
    counted = "SELECT count(*), max(test_accuracy) < 0 FROM trials"
    before = rows(connection, counted)
    asked.views.renew(connection)
    assert rows(connection, counted) == before == [(15, True)]


def test_deviations_are_of_the_metric(tmp_path):
    trials = [
        trial(f"{held}{seed}", seed=seed, test_accuracy=0.5) | {"arm": None}
        for held in ("a", "b")
        for seed in range(5)
    ]
    for one in trials:
        if one["trial_id"].startswith("b"):
            one["config"] = one["config"].replace('"lr"', '"init_seed":0,"lr"')
    metrics = [
        {
            "trial_id": one["trial_id"],
            "name": "rmse",
            "split": "test",
            "value": 100.0 * one["seed"],
            "higher_is_better": False,
        }
        for one in trials
    ]
    results.write(tmp_path, trials, [[]], [[]], [metrics])
    found = variance.spreads(analysis.open(tmp_path, metric="rmse"))
    assert {round(one.deviation.value, 6) for one in found} == {158.113883}
    assert "Standard deviations of test rmse" in variance.sentences(found)[-1]


def test_every_question_about_accuracies_takes_a_metric():
    assert {question.name for question in catalog.QUESTIONS if not question.about_accuracy} == {
        "collapse", "layers", "curves", "masks", "scaling", "asked",
    }  # fmt: skip
    assert (
        aggregate.QUESTION.about_accuracy
        and correlation.QUESTION.about_accuracy
        and regimes.QUESTION.about_accuracy
    )


def test_lost_trials_of_studies_without_the_metric_are_not_its_lost_trials(measured, tmp_path):
    """A failed trial names no headline: its study says whether it is one of the metric."""
    failed = [trial(f"{study}-failed", study=study, seed=9, status="failed") for study in ("made", "other")]
    results.write(measured, failed[:1], [[]], [[]])
    results.write(measured.parent / "other", failed[1:], [[]], [[]])
    names = "SELECT trial_id FROM trials WHERE status <> 'ok'"
    assert rows(analysis.open(measured.parent, metric="twin"), names) == [("made-failed",)]


def test_values_of_any_size_are_computed_with_or_left_out(made, capsys):
    """Spreads and kurtoses of values near the largest number would not be numbers."""
    metrics = [
        {"trial_id": name, "name": metric, "split": split, "value": scale * value, "higher_is_better": False}
        for name, value in rows(analysis.open(made), "SELECT trial_id, test_accuracy FROM trials")
        for metric, scale in (("vast", 1e59), ("boundless", 1e70))
        for split in ("validation", "test")
    ]
    results.write(made, [], [], [], [metrics])
    with pytest.raises(BadInput, match="no trial has it"):
        analysis.open(made, metric="boundless")
    assert "90 rows of no metric: left aside" in capsys.readouterr().err
    for question in catalog.QUESTIONS:
        if question.about_accuracy and question.name != "variance":  # which takes trials that hold a source
            words = OWN.get(question.name, {}).values()
            answer = run(question.name, *words, "--metric", "vast", "--results", made)
            assert answer.returncode == 0 and "Warning" not in answer.stderr, question.name
    needs = seeds.answer(analysis.open(made, metric="vast"), "snip", "random:erk")
    assert {row["needed"] for row in needs.rows} == {None}
    assert "a spread a million times the difference at 0.8" in seeds.sentences(*needs)[0]


@pytest.mark.parametrize("name", ["accuracy", "seeds"])
def test_an_answer_without_columns_of_accuracy_names_the_metric_too(name, shared):
    assert "test cost" in run(name, "--metric", "cost", "--results", shared).stdout


def test_headlines_are_looked_for_only_where_there_are_others_than_accuracy(made, add, monkeypatch):
    """That takes a pass over all parts."""
    plain = analysis.open(made)
    monkeypatch.setattr("analysis.warehouse.headlines.rows", lambda *_: pytest.fail("looked"))
    assert headline(plain) == ACCURACIES
    monkeypatch.undo()
    add(trial("r2", dataset="houses", test_accuracy=-0.5, headline="r2"))
    assert headline(analysis.open(made, where="dataset = 'houses'")).name == "r2"
