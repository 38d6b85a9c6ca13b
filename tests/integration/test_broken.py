"""Parts that end their process or never return: one line before the launch, or failed rows beside good ones."""

import pytest
import yaml

import analysis
from sweep.launch import main
from tests import commands
from tests.broken.parts import HEAD

BASE = {"name": "s", "dataset": "digits", "model": "lenet-300-100", "steps": 20, "sparsity": 0.9}


def launch(folder, fields, *words):
    (folder / "s.yaml").write_text(yaml.safe_dump(BASE | fields))
    results = folder / "results"
    return commands.run(main, folder / "s.yaml", "--results", results, "--workers", 1, *words)


@pytest.mark.slow
@pytest.mark.parametrize(
    "body, words",
    [
        ("os._exit(7)", "ended with exit code 7"),
        ("os.kill(os.getpid(), 11)", "was ended by SIGSEGV"),
        pytest.param(
            "print('flood\\n' * 10**6)\n    while True: threading.Event().wait()",
            "runs longer than 5 seconds, expected to end",
            marks=pytest.mark.long,
        ),
    ],
)
def test_a_part_that_does_not_return_is_one_line_before_the_launch(body, words, tmp_path, capfd):
    (tmp_path / "mine.py").write_text(f"{HEAD}\ndef mine(outputs, targets):\n    {body}\n")
    said = launch(tmp_path, {"criterion": "magnitude", "loss": "mine.py:mine"}, "--trial-seconds", 5)
    line = 10 if "while" in body else 8
    assert said.returncode == 2 and said.stderr.count("\n") == 1, said.stderr
    assert f"{tmp_path}/mine.py:{line}: mine: " in said.stderr and words in said.stderr, said.stderr
    assert "flood" not in "".join(capfd.readouterr())


LATE = """\
    if len(probe.batches[0][0]) > 8: BODY
    return {name: weight.abs() for name, weight in probe.weights.items()}
"""
BODIES = {
    "leaves": "os._exit(7)",
    "loops": "\n        while True: pass",
    "exits": "sys.exit(3)",
    "interrupts": "raise KeyboardInterrupt",
    "raises": "raise ValueError('late')",
    "prints": "print('flood\\n' * 10**5)",
    "good": "pass",
}


@pytest.mark.long
@pytest.mark.slow
@pytest.mark.usefixtures("on_cluster")
def test_trials_of_broken_parts_fail_and_those_of_others_keep_their_results(tmp_path, on_cluster):
    functions = (f"def {name}(probe):\n{LATE.replace('BODY', body)}\n" for name, body in BODIES.items())
    (tmp_path / "mine.py").write_text(f"{HEAD}\n" + "\n".join(functions))
    said = launch(
        tmp_path,
        {"criterion": ["magnitude", *(f"mine.py:{name}" for name in BODIES)], "batch_size": 50},
        *("--trial-seconds", 6, "--max-retries", 0),
    )
    assert said.returncode == 1, said.stderr
    rows = (
        analysis.open(tmp_path / "results").execute("SELECT criterion, status, error FROM trials").fetchall()
    )
    rows = {name.partition("@")[0].rpartition(":")[2]: (status, error) for name, status, error in rows}
    assert {name for name, (status, _) in rows.items() if status == "ok"} == {"magnitude", "good", "prints"}
    for name, words in {
        "loops": "it took longer than the 6 seconds of --trial-seconds",
        "exits": "SystemExit: 3",
        "interrupts": "KeyboardInterrupt",
        "raises": "ValueError: late",
    }.items():
        error = rows[name][1]
        assert words in error and error.splitlines()[1].startswith(f'  File "{tmp_path}/mine.py"'), error
    assert len(rows) == len(BODIES) + 1
    assert "worker" in rows["leaves"][1]
