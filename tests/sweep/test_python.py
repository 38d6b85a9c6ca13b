"""`sweep.run` in the process that asks for it: the results of a launch, its errors, and the process as it was."""

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

import analysis
import sweep
from sweep.errors import BadInput
from tests.integration import launching

MINE = """\
import os
import pdb
import signal
import sys


def fails(probe):
    raise KeyError("no such weight")


def stops(probe):
    os.kill(os.getpid(), signal.SIGINT)
    return {name: weight.abs() for name, weight in probe.weights.items()}


def debugged(probe):
    pdb.Pdb(stdin=sys.stdin, stdout=sys.stdout).set_trace()
    return {name: weight.abs() for name, weight in probe.weights.items()}
"""
FIELDS = {"dataset": "digits", "model": "conv-5", "epochs": 1, "lr": 0.2, "sparsity": 0.9}
HANDLERS = (signal.SIGINT, signal.SIGTERM)


@pytest.fixture
def here(tmp_path, monkeypatch):
    """An empty folder with parts of one's own, and signals that are as before at the end."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text(MINE)
    before = [signal.getsignal(number) for number in HANDLERS]
    yield tmp_path
    assert [signal.getsignal(number) for number in HANDLERS] == before


def run(study, **options):
    return sweep.run(study, ray=False, data_root=Path(__file__).parents[2] / "data", **options)


def statuses(results):
    return results.sql("SELECT status FROM trials ORDER BY seed, criterion").fetchall()


@pytest.mark.slow
def test_trials_in_this_process_share_and_give_the_results_of_each_on_its_own(here, study_file, capsys):
    study = sweep.load(study_file())
    assert (
        "small: 20 trials, 0 with a result, 3 to run"
        in (run(study, max_trials=3), capsys.readouterr().out)[1]
    )
    results = run(study)
    assert launching.rows(results.folder) == launching.undisturbed(study.path)
    [(least, most)] = results.sql("SELECT min(trained_steps), max(trained_steps) FROM trials").fetchall()
    assert least < most, "what trials have in common is trained once"
    assert not list(Path("results").glob(".prefixes/*.pt")), "states that nobody needs are removed"
    assert "0 to run" in (run(study), capsys.readouterr().out)[1]
    [code] = results.sql("SELECT DISTINCT code FROM trials").fetchall()
    assert code[0] and repr(results) == f"<results {Path('results/small')}: 20 ok>"


@pytest.mark.slow
def test_a_trial_that_fails_is_a_row_or_is_raised(here, capsys):
    study = sweep.Study(FIELDS, name="fails", criterion=["mine.py:fails", "magnitude"])
    with pytest.raises(KeyError, match="no such weight"):
        run(study, raise_errors=True, quiet=True)
    assert not capsys.readouterr().out
    assert statuses(run(study)) == [("ok",), ("failed",)], "the trial whose error was raised has no row"
    [(error,)] = (
        analysis.Results("results/fails").sql("SELECT error FROM trials WHERE error IS NOT NULL").fetchall()
    )
    assert error.startswith("Traceback") and "KeyError" in error and "mine.py" in error


@pytest.mark.slow
@pytest.mark.parametrize("ends", ["stops", "debugged"])
def test_ctrl_c_and_quitting_the_debugger_end_a_run_that_keeps_what_is_done(ends, here, monkeypatch):
    monkeypatch.setattr(sys, "stdin", (here / "commands").open("w+"))
    sys.stdin.write("args\nquit\n")
    sys.stdin.seek(0)
    study = sweep.Study(
        FIELDS, name="ends", blocks=[{"criterion": "magnitude"}, {"criterion": f"mine.py:{ends}", "seed": 1}]
    )
    with pytest.raises(KeyboardInterrupt):
        run(study, quiet=True)
    assert statuses(analysis.Results("results/ends")) == [("ok",)]


@pytest.mark.slow
def test_a_debugger_stops_in_a_criterion_and_goes_on(here, monkeypatch, capsys):
    monkeypatch.setattr(sys, "stdin", (here / "commands").open("w+"))
    sys.stdin.write("args\ncontinue\n")
    sys.stdin.seek(0)
    results = run(sweep.Study(FIELDS, name="debugged", criterion="mine.py:debugged"))
    assert "probe = " in capsys.readouterr().out and statuses(results) == [("ok",)]


@pytest.mark.slow
def test_without_ray_nothing_of_ray_is_imported(here):
    code = (
        "import sys, sweep, analysis\n"
        "assert not {'torch', 'ray', 'optuna'} & set(sys.modules)\n"
        f"study = sweep.Study({FIELDS | {'criterion': 'snip'}!r})\n"
        "print(sweep.run(study, ray=False, quiet=True), 'ray' in sys.modules)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, env=_with_this_code()
    )
    assert done.stdout == "<results results/study: 1 ok> False\n", done.stderr


def _with_this_code():
    return os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"workers": 0}, "workers=0: give a number from 1 on, or leave it out"),
        ({"max_trials": 0}, "max_trials=0: give a number from 1 on, or leave it out"),
        ({"trial_seconds": "x"}, "trial_seconds=x: give a number from 0.1 on, or leave it out"),
        ({"gpus_per_trial": -1}, "gpus_per_trial: '-1' is no share of a GPU: a number such as 0.25, or auto"),
        (
            {"raise_errors": True},
            "raise_errors=True: errors are raised where ray=False runs the trials: add it",
        ),
        (
            {"ray": False, "workers": 2},
            "workers: ray=False runs one trial after another in this process: leave it out",
        ),
        ({"known": "nowhere"}, "--known nowhere: no such folder of results"),
        ({"data_root": "nowhere", "study": {"dataset": "mnist"}}, "nowhere"),
        ({"study": {"search": {"space": {"criterion": ["snip"]}}, "criterion": None}}, "study searches: "),
    ],
)
def test_an_argument_that_cannot_be_is_one_line(options, message, here):
    fields = {
        name: value
        for name, value in (FIELDS | {"criterion": "snip"} | options.pop("study", {})).items()
        if value
    }
    with pytest.raises(BadInput) as error:
        sweep.run(sweep.Study(fields), **options)
    assert message in str(error.value) and "\n" not in str(error.value)
    assert not Path("results").exists()


def test_an_unknown_argument_is_told_as_python_does(here):
    with pytest.raises(TypeError, match=r"^run\(\) got an unexpected keyword argument 'wrokers'$"):
        sweep.run(sweep.Study(FIELDS, criterion="snip"), wrokers=2)


def test_a_dry_run_says_what_would_run(here, capsys):
    results = run(sweep.Study(FIELDS, criterion="snip"), dry_run=True)
    assert "study: 1 trials, 0 with a result, 1 to run" in capsys.readouterr().out
    assert repr(results) == f"<results {Path('results/study')}: none yet>" and not Path("results").exists()


def test_a_thread_is_told_to_leave_it_to_the_main_one(here):
    errors = []

    def work():
        try:
            run(sweep.Study(FIELDS, criterion="snip"))
        except BadInput as error:
            errors.append(str(error))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert errors == ["sweep.run: call it in the main thread, which gets Ctrl-C"]


def test_the_names_of_the_package_are_those_that_it_says():
    assert set(dir(sweep)) == set(sweep.__all__)
    with pytest.raises(AttributeError, match="module 'sweep' has no attribute 'stduy'"):
        sweep.stduy  # noqa: B018
