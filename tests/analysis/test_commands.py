import re
import subprocess
import sys

import pytest


def run(*words):
    return subprocess.run(
        [sys.executable, "-m", "analysis", *map(str, words)], capture_output=True, text=True, check=False
    )


def test_sql_prints_the_answer(made):
    answer = run("sql", "SELECT criterion, count(*) AS n FROM trials GROUP BY 1", "--results", made)
    assert answer.returncode == 0 and re.search(r"snip\s+│\s+15", answer.stdout)


def test_crossover_prints_table_and_answers(made):
    answer = run("crossover", "--results", made.parent)
    assert answer.returncode == 0
    assert "random erk" in answer.stdout and "90.0±2.5" in answer.stdout
    assert "SNIP falls below random erk at sparsity 0.972" in answer.stdout


def test_a_narrow_terminal_cuts_no_name_and_no_number(made, monkeypatch):
    monkeypatch.setenv("COLUMNS", "30")
    answer = run("crossover", "--results", made)
    assert re.search(
        r"^random global +90.0±2.5 +80.0±2.5 +70.0±2.5 +30.0±2.5 +10.0±2.5", answer.stdout, re.MULTILINE
    )


def test_report_is_one_file_with_chart_and_numbers_that_loads_nothing(made):
    answer = run("report", "--results", made)
    assert answer.stdout.strip() == f"report: {made / 'report.html'}"
    page = (made / "report.html").read_text()
    assert "SNIP falls below random erk at sparsity 0.972" in page and "0.900 ± 0.025" in page
    # plotly.js is inside; no tag fetches anything.
    assert "Plotly.newPlot" in page and not re.search(r"<(script|link|img)[^>]+(src|href)=", page)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("crossover", "--results", "nowhere"), "nowhere: no such folder"),
        (("sql", "SELECT * FROM read_csv('/etc/passwd')"), "Cannot access file"),
        (("sql", "SELEC"), "syntax error"),
        (("crossover", "--wrong"), "No such option"),
        (("report", "--output", "/proc/report.html"), "choose another --output"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(words, message, made):
    answer = run(*words, *(("--results", made) if "--results" not in words else ()))
    assert answer.returncode == 2 and answer.stdout == ""
    assert message in answer.stderr and answer.stderr.count("\n") == 1


def test_results_without_trials_are_said_to_be_empty(tmp_path):
    for name in ("crossover", "report"):
        answer = run(name, "--results", tmp_path)
        assert answer.returncode == 2 and "no finished trials yet" in answer.stderr
