import csv
import json
import math
import re
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from functools import partial

import pyarrow.parquet as pq
import pytest

import analysis
from analysis.__main__ import main
from analysis.report import report, watch
from sweep.store import launches, results
from tests import commands
from tests.analysis.conftest import trial

run = partial(commands.run, main)


@pytest.mark.slow
def test_it_is_a_module_that_runs(made):
    words = [sys.executable, "-m", "analysis", "sql", "SELEC", "--results", str(made)]
    answer = subprocess.run(words, capture_output=True, text=True, check=False)
    assert answer.returncode == 2 and answer.stderr.count("\n") == 1


def test_sql_prints_the_answer(made):
    answer = run("sql", "SELECT criterion, count(*) AS n FROM trials GROUP BY 1", "--results", made)
    assert answer.returncode == 0 and re.search(r"snip\s+│\s+15", answer.stdout)


@pytest.mark.slow
def test_crossover_prints_table_and_answers(made):
    answer = run("crossover", "--results", made.parent)
    assert answer.returncode == 0
    assert "random erk" in answer.stdout and "0.900±0.025" in answer.stdout
    assert "snip against random erk: certainly above at 0.95 and certainly below at 0.98" in answer.stdout


@pytest.mark.slow
def test_a_narrow_terminal_cuts_no_name_and_no_number(made, monkeypatch):
    monkeypatch.setenv("COLUMNS", "30")
    answer = run("crossover", "--results", made)
    for mean in ("0.900±0.025", "0.800±0.025", "0.700±0.025", "0.300±0.025", "0.100±0.025"):
        assert re.search(rf"^random global +{mean}$", answer.stdout, re.MULTILINE)


@pytest.mark.slow
def test_sentences_end_their_lines_between_words(made, monkeypatch):
    """A terminal breaks them within words, and one line for a caption is not read."""
    monkeypatch.setenv("COLUMNS", "72")
    for name in ("crossover", "best", "correlation", "better", "seeds", "aggregate"):
        said = run(name, "--results", made).stdout
        told = said if name == "crossover" else said.partition("\n\n")[2]
        assert all(len(line) <= 72 and line == line.rstrip() for line in told.splitlines())
        assert "digits, conv-5" in told


@pytest.mark.slow
def test_two_that_have_nothing_in_common_are_said_to_be_no_pair(made):
    for name in ("crossover", "better", "seeds"):
        assert "No pair to compare" in run(name, "snip", "snip", "--results", made).stdout


@pytest.mark.slow
def test_report_is_one_file_with_chart_and_numbers_that_loads_nothing(made):
    answer = run("report", "--results", made)
    assert answer.stdout.strip() == f"report: {made / 'report.html'}"
    page = (made / "report.html").read_text()
    assert (
        "snip against random erk: certainly above at 0.95 and certainly below at 0.98" in page
        and "<td>0.900±0.025</td>" in page
    )
    # plotly.js is inside; no tag fetches anything.
    assert "Plotly.react" in page and not re.search(r"<(script|link|img)[^>]+(src|href)=\"(?!data:)", page)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("crossover", "--results", "nowhere"), "nowhere: no such folder"),
        (("sql", "SELECT * FROM read_csv('/etc/passwd')"), "Cannot access file"),
        (("sql", "SELEC"), "syntax error"),
        (("crossover", "--wrong"), "No such option"),
        (("best", "--study", "a", "--study=b"), "--study: given more than once: give it once"),
        (("sql", "-f", "a.sql", "-f", "b.sql"), "-f: given more than once: give it once"),
        (("report", "--output", "/proc/report.html"), "choose another file"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(words, message, made):
    answer = run(*words, *(("--results", made) if "--results" not in words else ()))
    assert answer.returncode == 2 and answer.stdout == ""
    assert message in answer.stderr and answer.stderr.count("\n") == 1


def test_of_two_values_of_an_option_neither_is_taken_silently(made):
    answer = run("accuracy", "--results", made, "--study", "made", "--study", "other")
    assert answer.returncode == 2 and answer.stdout == ""
    assert answer.stderr == "--study: given more than once: give it once\n"
    assert run("views", "--results", made, "--help").returncode == 0


@pytest.mark.slow
def test_results_without_trials_are_said_to_be_empty(tmp_path):
    for name in ("crossover", "report"):
        answer = run(name, "--results", tmp_path)
        assert answer.returncode == 2 and "no finished trials yet" in answer.stderr


QUESTIONS = (
    *("accuracy", "aggregate", "best", "better", "collapse", "correlation", "cost", "crossover", "layers"),
    *("masks", "regimes", "scaling", "seeds"),
)


@pytest.mark.parametrize("name", [*QUESTIONS, "report"])
def test_results_where_nothing_ended_with_an_accuracy_are_said_to_be_so(name, tmp_path):
    rows = [
        trial("f", status="failed"),
        trial("d", status="diverged", seed=1),
        trial("n", seed=2, test_accuracy=math.nan),
    ]
    results.write(tmp_path / "r", rows, [[]], [[]])
    answer = run(name, "--results", tmp_path / "r")
    assert answer.returncode == 2 and "none of 3 trials ended with an accuracy" in answer.stderr
    assert answer.stderr.count("\n") == 1


@pytest.fixture
def single(tmp_path):
    """Results of one trial, beside one that failed."""
    whole = trial(
        "a", test_accuracy=0.9, val_accuracy=0.9, pre_train_loss=1.0, density=0.1, collapsed_layers=0,
        effective_density=0.1, wall_seconds=3.0, device="cpu",
    )  # fmt: skip
    curves = [{"trial_id": "a", "phase": "retrain", "epoch": 1.0, "val_accuracy": 0.9}]
    layers = [{"trial_id": "a", "layer": 0, "name": "0.weight", "params": 10, "kept": 1, "density": 0.1}]
    results.write(tmp_path / "r", [whole, trial("b", seed=1, status="failed")], [curves], [layers])
    return tmp_path / "r"


@pytest.mark.slow
@pytest.mark.parametrize("name", [*QUESTIONS, "report"])
def test_one_trial_is_answered_as_far_as_it_goes(name, single):
    answer = run(name, "--results", single)
    assert answer.returncode == 0, answer.stderr
    assert "nan" not in answer.stdout.replace("nano", "")


@pytest.mark.slow
@pytest.mark.parametrize("name", QUESTIONS)
def test_every_question_is_answered_in_every_format_with_the_same_rows(name, made, tmp_path):
    files = [tmp_path / f"{name}.{kind}" for kind in ("csv", "json", "parquet")]
    for file in files:
        answer = run(name, "--results", made, "--out", file)
        assert answer.returncode == 0 and answer.stdout == ""
    texts = list(csv.DictReader(files[0].open()))
    objects, table = json.loads(files[1].read_text()), pq.read_table(files[2])
    assert len(texts) == len(objects) == len(table)
    if texts:
        assert list(texts[0]) == list(objects[0]) == table.column_names


@pytest.mark.slow
def test_sql_is_read_from_a_file_and_written_as_asked(made, tmp_path):
    (tmp_path / "q.sql").write_text("SELECT criterion, count(*) AS n FROM trials GROUP BY 1 ORDER BY 1")
    answer = run("sql", "-f", tmp_path / "q.sql", "--format", "csv", "--results", made, "--where", "seed > 0")
    assert answer.stdout == "criterion,n\nrandom,20\nsnip,10\n"
    assert run("sql", "--results", made).stderr.startswith("give one query")
    assert "needs a file" in run("sql", "SELECT 1", "--format", "parquet", "--results", made).stderr


def test_views_prints_the_columns_with_what_they_mean(made):
    printed = run("views", "--results", made, "--format", "csv").stdout
    assert (
        "trials,test_accuracy,DOUBLE,headline metric on test data after the last epoch (fraction)\n"
        in printed
    )
    assert "settings,setting,VARCHAR,the arm less all that chooses the mask\n" in printed
    assert ",\n" not in printed, "each column says what it means"


@pytest.mark.slow
def test_the_prompt_answers_refuses_and_goes_on(made):
    typed = (
        "SELECT count(*) AS n\nFROM trials;\nDROP VIEW trials;\nFROM nowhere;\nSELECT 7 AS seven;\n.quit\n"
    )
    answer = subprocess.run(
        [sys.executable, "-m", "analysis", "shell", "--results", made],
        input=typed,
        capture_output=True,
        text=True,
    )
    assert answer.returncode == 0 and "45" in answer.stdout and "seven" in answer.stdout
    assert len(answer.stderr.splitlines()) == 2 and answer.stderr.startswith("one query only")


@pytest.mark.slow
def test_a_criterion_that_is_nowhere_is_one_line(made):
    answer = run("crossover", "snap", "random", "--results", made)
    assert answer.returncode == 2 and "snap: no trials of it; there are: random" in answer.stderr
    answer = run("regimes", "--y", "warmth", "--results", made)
    assert answer.returncode == 2 and answer.stderr.startswith("warmth: no such field; there are: criterion")


@pytest.mark.slow
def test_export_writes_tidy_tables_and_latex(made, tmp_path):
    for name in ("t.csv", "t.parquet", "t.tex"):
        assert run("export", tmp_path / name, "--results", made).returncode == 0
    assert (
        len(pq.read_table(tmp_path / "t.parquet"))
        == len(list(csv.DictReader((tmp_path / "t.csv").open())))
        == 45
    )
    text = (tmp_path / "t.tex").read_text()
    assert r"random erk & $95.0 \pm 2.5$" in text and text.count(r"\toprule") == 1
    assert "export to .csv" in run("export", tmp_path / "t.doc", "--results", made).stderr


@pytest.mark.slow
def test_the_latex_table_says_what_was_lost(made, add, tmp_path):
    add(trial("lost", criterion="snip", sparsity=0.99, seed=3, status="diverged"))
    run("export", tmp_path / "t.tex", "--results", made)
    assert "(1 lost)" in (tmp_path / "t.tex").read_text()


@pytest.mark.slow
def test_the_latex_table_says_that_seeds_are_equal_and_that_a_study_runs(tmp_path):
    rows = [trial(f"s{seed}", seed=seed, test_accuracy=0.9) for seed in range(3)]
    results.write(tmp_path / "r", rows, [[]], [[]])
    launch = {"trials": 9, "to_run": 9, "started_at": "2025-12-31T00:00:00+00:00"}
    launches.note_launch(tmp_path / "r", "made", "", launch)
    assert run("export", tmp_path / "t.tex", "--results", tmp_path / "r").returncode == 0
    text = (tmp_path / "t.tex").read_text()
    assert "$90.0$ (equal)" in text and "pm 0.0" not in text
    assert text.startswith("% Provisional: 3 of 9 trials of made.")


def test_columns_of_one_name_are_all_written(made):
    answer = run(
        "sql", "SELECT 1 AS a, 2 AS a, 3 AS a FROM trials LIMIT 1", "--format", "csv", "--results", made
    )
    assert answer.stdout == "a,a_1,a_2\n1,2,3\n"


@pytest.mark.slow
def test_studies_in_epochs_and_in_steps_are_reported_together(made, add):
    add(trial("long", epochs=8, test_accuracy=0.5), trial("steps", epochs=None, test_accuracy=0.5))
    assert run("report", "--results", made).returncode == 0


@pytest.mark.slow
def test_the_report_of_one_study_has_the_files_of_that_one(made, add):
    other = made.parent / "other"
    results.write(other, [trial("x", study="other", test_accuracy=0.5)], [[]], [[]])
    launches.note_launch(other, "other", "# the text of the other", {})
    for words, there in (((), True), (("--study", "made"), False)):
        run("report", "--results", made.parent, *words)
        assert ("# the text of the other" in (made.parent / "report.html").read_text()) == there


@pytest.mark.slow
def test_the_oracles_masks_alone_are_no_criteria_to_compare(tmp_path):
    results.write(tmp_path, [trial("o", criterion="oracle", test_accuracy=0.5)], [[]], [[]])
    for name in ("crossover", "best", "accuracy"):
        answer = run(name, "--results", tmp_path)
        assert answer.returncode == 2 and "python -m analysis correlation" in answer.stderr


@pytest.mark.slow
def test_numbers_are_written_as_they_are_however_large(made, tmp_path):
    query = "SELECT 170141183460469231731687303715884105727::HUGEINT AS n, sum(seed) AS s FROM trials"
    assert run("sql", query, "--out", tmp_path / "n.parquet", "--results", made).returncode == 0
    [row] = pq.read_table(tmp_path / "n.parquet").to_pylist()
    assert row == {"n": 2**127 - 1, "s": 45}
    answer = run("sql", query, "--format", "json", "--results", made)
    assert json.loads(answer.stdout) == [{"n": 2**127 - 1, "s": 45}]
    assert run("sql", query, "--format", "csv", "--results", made).stdout == f"n,s\n{2**127 - 1},45\n"


HOSTILE = "a\\input{x}[link=file:///etc]\x1b]52;c;x\x07\x1b[2J"


@pytest.mark.slow
def test_labels_of_results_move_no_terminal_and_no_markup_breaks_a_table(made, add):
    add(trial("h", criterion=HOSTILE, sparsity=0.9, test_accuracy=0.5, val_accuracy=0.5, density=0.1))
    for name in ("crossover", "best", "accuracy", "collapse", "better", "aggregate"):
        answer = run(name, "--results", made)
        assert answer.returncode in (0, 2) and "\x1b" not in answer.stdout + answer.stderr, name
    assert "a\\input{x}[link=file:///etc]\\x1b]52" in run("accuracy", "--results", made).stdout
    assert HOSTILE in run("accuracy", "--results", made, "--format", "csv").stdout, "data stay as they are"
    assert "\x1b" not in run("accuracy", "--results", made, "--where", "'\x1b[2J'").stderr


@pytest.mark.slow
def test_latex_runs_no_command_of_a_label(made, add, tmp_path):
    add(trial("h", criterion=HOSTILE, sparsity=0.9, test_accuracy=0.5))
    run("export", tmp_path / "t.tex", "--results", made)
    assert "\\input{" not in (tmp_path / "t.tex").read_text()


@pytest.mark.slow
def test_what_is_written_follows_no_link(made, tmp_path):
    """A results folder is somebody else's: no name in it leads a reader's file away."""
    victim = tmp_path / "victim"
    victim.write_text("mine")
    for name in (".report.html.new", "report.html", "x.csv", ".x.csv.new"):
        (made / name).symlink_to(victim)
    assert run("report", "--results", made).returncode == 0
    assert run("accuracy", "--results", made, "--out", made / "x.csv").returncode == 0
    assert victim.read_text() == "mine" and not (made / "report.html").is_symlink()


@pytest.mark.slow
def test_numbers_without_end_are_gaps_in_the_page(made, add):
    """A browser's JSON knows no Infinity, which the loss of a trial that diverged may be."""
    add(trial("far", pre_train_loss=math.inf, val_accuracy=math.nan, test_accuracy=0.5, status="diverged"))
    page = report.render(analysis.open(made), made)

    def refuse(name):
        raise AssertionError(f"{name} in the page")

    found = re.findall(r'<script type="application/json"[^>]*>(.*?)</script>', page, re.DOTALL)
    assert len(found) > 3 and all(json.loads(text, parse_constant=refuse) for text in found)


@pytest.mark.slow
def test_a_part_by_any_name_is_no_script_of_the_watched_page(made):
    name = 'part-";document.documentElement.dataset.pwned=4;".parquet'
    [part] = (made / "trials").glob("part-*")
    part.rename(part.with_name(name))
    running = watch.server(made, lambda: report.render(analysis.open(made), made))
    threading.Thread(target=running.serve_forever, daemon=True).start()
    with urllib.request.urlopen(f"http://127.0.0.1:{running.server_address[1]}/") as answer:
        page = answer.read().decode()
    running.shutdown(), running.server_close()
    assert "pwned" not in page and "default-src 'none'" in page


@pytest.mark.slow
def test_an_answer_of_no_rows_has_its_columns_in_every_format(made, tmp_path):
    query = "SELECT seed, seed FROM trials WHERE false"
    assert run("sql", query, "--format", "csv", "--results", made).stdout == "seed,seed_1\n"
    assert run("sql", query, "--format", "json", "--results", made).stdout == "[]\n"
    run("sql", query, "--out", tmp_path / "n.parquet", "--results", made)
    assert pq.read_table(tmp_path / "n.parquet").column_names == ["seed", "seed_1"]


@pytest.mark.slow
def test_the_watched_page_follows_the_results_on_loopback_only(made, add):
    running = watch.server(made, lambda: report.render(analysis.open(made), made))
    assert running.server_address[0] == "127.0.0.1"
    threading.Thread(target=running.serve_forever, daemon=True).start()
    at = f"http://127.0.0.1:{running.server_address[1]}/"

    def get(path):
        with urllib.request.urlopen(at + path) as answer:
            return answer.read().decode()

    before = get("version")
    assert "45 of 45" not in get("") and f'<meta name="version" content="{before}">' in get("")
    add(trial("new", test_accuracy=0.5))
    assert get("version") != before and '"new"' in get("")
    with pytest.raises(urllib.error.HTTPError):
        get("../etc/passwd")
    # A page of somebody else's whose name was made to lead here.
    with pytest.raises(urllib.error.HTTPError, match="403"):
        urllib.request.urlopen(urllib.request.Request(at, headers={"Host": "elsewhere.example"}))
    running.shutdown()
    running.server_close()


def test_a_loss_that_no_trial_has_is_said_to_be_so(made):
    answer = run("correlation", "--results", made, "--before", "pre_train_loss_recalibrated")
    assert answer.returncode == 2 and "no pruned trial here has it" in answer.stderr
    assert answer.stderr.count("\n") == 1
