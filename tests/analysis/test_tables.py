"""Tables fit the terminal, and their numbers have the digits that they mean."""

import json
import re

import pytest
from rich.cells import cell_len

from analysis import tables
from analysis.__main__ import main
from analysis.cells import columns, significant, span
from sweep.means import decimals
from sweep.store import results
from tests.analysis.conftest import trial
from tests.commands import run

# Every command that prints a table, on results that have an answer to it.
COMMANDS = (
    "accuracy", "best", "better", "collapse", "correlation", "cost", "crossover", "crossover snip random:erk",
    "aggregate", "aggregate --profiles", "layers", "marks", "regimes", "regimes --x sparsity --y lr", "seeds",
    "variance", "effect scope", "effect order_seed", "diff snip random:erk", "diff snip-global-0.8-0 random-erk-0.9-1", "views",
)  # fmt: skip
NUMBER = r"-?\d(?:,?\d)*(?:\.\d+)?(?:e-\d+)?"


@pytest.fixture
def full(made):
    """The made results with layers, a mark, and trials that hold a source and have numbers with many digits."""
    spread = (0.0123456, -0.0198765, 0.0071234)
    held = [
        trial(
            f"held-{seed}", criterion="snip", scope="global", sparsity=0.9, seed=seed,
            test_accuracy=0.9 + off / 3, val_accuracy=0.91 + off, pre_train_loss=0.123456789 * (seed + 1),
            density=0.1, wall_seconds=0.7123456, score_seconds=0.0123456, device="cpu",
        )
        for seed, off in enumerate(spread)
    ]  # fmt: skip
    for row in held:
        row["config"] = json.dumps(
            json.loads(row["config"]) | {"order_seed": 0}, sort_keys=True, separators=(",", ":")
        )
    layers = [
        [{"trial_id": row["trial_id"], "layer": 0, "name": "0.weight", "kept": 7, "density": 0.1234567}]
        for row in held
    ]
    results.write(made, held, [[]], layers)
    run(main, "mark", "--where", "seed = 1 AND sparsity = 0.8", "--as", "paper", "--results", made)
    return made


def numbers(text):
    """Each number of a table that has a point, with what follows it."""
    return re.findall(rf"(?<![\w.±\[])({NUMBER})(±{NUMBER}| \[{NUMBER}, {NUMBER}\])?(?![\w.@])", text)


def digits(number):
    return len(re.sub(r"e.*|[-.,]", "", number).lstrip("0"))


@pytest.mark.slow
@pytest.mark.parametrize("wide", [100, 80])
def test_every_table_fits_the_terminal_and_no_number_has_more_digits_than_it_means(full, wide, monkeypatch):
    monkeypatch.setenv("COLUMNS", str(wide))
    for command in COMMANDS:
        answer = run(main, *command.split(), "--results", full)
        assert answer.returncode == 0, (command, answer.stderr)
        assert max(map(cell_len, answer.stdout.splitlines())) <= wide, command
        for number, interval in numbers(answer.stdout):
            if interval.startswith("±"):
                half = interval.removeprefix("±")
                assert digits(half) <= 2 and len(half.partition(".")[2]) == len(number.partition(".")[2]), (
                    command
                )
            elif interval:
                low, high = (float(end) for end in re.findall(NUMBER, interval))
                least = decimals((high - low) / 2) if high > low else 3
                assert len(number.partition(".")[2]) <= least + 1, (command, number, interval)
            elif "." in number:
                # Means without an interval share the decimals of their deviation.
                assert digits(number) <= (4 if command == "accuracy" else 3), (command, number)


@pytest.mark.slow
def test_files_have_every_column_and_every_digit(full):
    shown = json.loads(run(main, "best", "--results", full, "--format", "json").stdout)
    assert {"setting", "selected_test_low", "lost", "hours", "cost_front_tied"} <= shown[0].keys()
    assert any(len(repr(row["validation_accuracy"])) > 8 for row in shown)


@pytest.mark.slow
def test_what_is_the_same_in_every_row_is_said_once(full, monkeypatch):
    monkeypatch.setenv("COLUMNS", "100")
    said = run(main, "cost", "--results", full).stdout
    above, _, below = said.partition("\n\n")
    assert above.endswith("gpu time 0 s") and "gpu" not in below
    assert re.search(r"\b0\.71 s|2\.1 s\b", said) and "0.000" not in said


def test_settings_are_headings_and_a_table_that_is_too_wide_has_more_of_them(monkeypatch):
    monkeypatch.setenv("COLUMNS", "30")
    rows = [
        {
            "setting": f"setting {one}",
            "criterion": f"a long name {two}",
            "sparsity": 0.9 + three / 100,
            "trials": two,
        }
        for one in "ab"
        for two in range(2)
        for three in range(2)
    ]
    said = tables.table(rows, list(rows[0]))
    assert said.startswith("setting a, criterion a long\n  name 0, trials 0\nsparsity\n     0.9\n    0.91\n")


def test_columns_that_do_not_fit_stand_below_behind_the_first(monkeypatch):
    monkeypatch.setenv("COLUMNS", "20")
    said = tables.as_asked(
        [{"name": "x", "one": 123456.5, "two": 1234567.25, "three": 1}], ["name", "one", "two", "three"]
    )
    assert (
        said
        == "name       one\nx     123456.5\n\nname         two\nx     1234567.25\n\nname  three\nx         1\n"
    )


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"mean": 0.93456, "low": 0.9218, "high": 0.9481}, "0.935 [0.922, 0.948]"),
        ({"test_accuracy": 0.93456, "deviation": 0.2, "half_width": 0.0996}, "0.93±0.10"),
        ({"behind": 0.01, "behind_half_width": 0.0}, "0.0100 (equal)"),
        ({"p_holm": 0.00042}, "<0.001"),
        ({"tau_p": 0.1}, "0.10"),
        ({"sparsity": 0.98765}, "0.98765"),
        ({"cpu_hours": 0.0002}, "0.72 s"),
        ({"trials": 12345}, "12,345"),
        ({"share": 0.0}, "0"),
        ({"tied": True}, "yes"),
        ({"name": None}, ""),
    ],
)  # fmt: skip
def test_cells_say_what_a_number_means(row, said):
    assert columns([row], list(row))[0].cells == [said]


def test_spans_and_significant_digits():
    assert [span(s) for s in (0.0123, 9.44, 59, 90, 5400, 360_000)] == [
        "0.012 s",
        "9.4 s",
        "59 s",
        "1.5 min",
        "1.5 h",
        "100 h",
    ]
    assert [significant(x) for x in (0.98765, 1234.5, 770.0, 0.00001234)] == [
        "0.988",
        "1,230",
        "770",
        "1.23e-05",
    ]
