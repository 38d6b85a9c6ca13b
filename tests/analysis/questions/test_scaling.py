"""Laws of loss in mean active and final weights, of results whose law is planted."""

import itertools
import json
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

import analysis
from analysis.questions import scaling
from analysis.report import report
from analysis.warehouse import ask
from sweep.store import launches, results
from tests.analysis.conftest import trial
from tests.analysis.test_commands import run

WEIGHTS, STEPS = 100_000, 10


def row(name, epochs, share, update_end=0.75, seed=0, noise=0.0, **fields):
    """A row whose mean active weights are a share of all, and whose loss follows a planted law of them."""
    active = share * WEIGHTS
    loss = 0.2 + 30 / active**0.45 + 40 / (64 * STEPS * epochs) ** 0.5
    given = {
        "epochs": epochs, "seed": seed, "criterion": "gmp", "val_loss": loss * np.exp(noise), "test_accuracy": 0.9,
        "val_accuracy": 0.9, "mean_active_params": active, "spent_steps": STEPS * epochs, "kept": WEIGHTS, **fields,
    }  # fmt: skip
    made = trial(name, **given)
    config = json.loads(made["config"]) | {"batch_size": 64, "update_end": update_end}
    return made | {"config": json.dumps(config, sort_keys=True, separators=(",", ":"))}


def journey(seeds=3, **fields):
    draws, effects = np.random.default_rng(0), np.random.default_rng(1).normal(0, 0.004, seeds)
    rows = []
    for seed, epochs in itertools.product(range(seeds), (4, 8, 16)):
        noise = effects[seed] + draws.normal(0, 0.004)
        dense = {"criterion": "dense", "sparsity": 0.0, "noise": noise}
        rows.append(row(f"dense{epochs}{seed}", epochs, 1.0, seed=seed, **dense, **fields))
        for sparsity, (end, early) in itertools.product((0.5, 0.8, 0.95), ((0.25, 0.2), (1.0, 0.7))):
            rows.append(
                row(
                    f"{sparsity}{end}{epochs}{seed}",
                    epochs,
                    1 - sparsity + early * sparsity,
                    end,
                    seed=seed,
                    sparsity=sparsity,
                    kept=round(WEIGHTS * (1 - sparsity)),
                    noise=effects[seed] + draws.normal(0, 0.004),
                    **fields,
                )
            )
    return rows


@pytest.fixture
def write(tmp_path):
    def made(rows):
        results.write(tmp_path / "made", rows, [[]], [[]])
        return analysis.open(tmp_path / "made")

    return made


@pytest.mark.slow
def test_a_planted_law_is_found_and_mean_weights_fit_better(write):
    """Dense trials and all journeys are cells of one law; a lost trial is in none."""
    lost = row("lost", 4, 0.5, seed=7, sparsity=0.5, status="diverged")
    [law] = found = scaling.answer(write([*journey(), lost]))
    assert (law.setting, law.way, law.cells, len(law.losses.loss)) == (
        "digits, conv-5", "gmp", 21, 63,
    )  # fmt: skip
    mean, final = scaling.rows(found)
    for name, planted in (("E", 0.2), ("alpha", 0.45), ("beta", 0.5)):
        assert mean[name] == pytest.approx(planted, abs=0.1)
        assert mean[f"{name}_low"] < mean[name] < mean[f"{name}_high"]
    assert (mean["size"], final["size"]) == ("mean active weights", "final weights")
    assert mean["error"] < final["error"] and mean["verdict"] == "mean active weights fit better"
    assert mean["difference"] == pytest.approx(final["error"] - mean["error"])
    said, about = scaling.sentences(found)
    assert "validation loss = " in said and "mean active weights fit better (difference 0." in said
    assert "of the seed" not in about and "certain at 5 %. A law describes" in about
    [chart] = scaling.QUESTION.charts(found).values()
    assert len(chart.data) == 6, "markers and a curve for each amount of data"
    cell = law.losses.cell[law.losses.data == law.losses.data.min()].min()
    losses = law.losses.loss[law.losses.cell == cell]
    assert chart.data[0].y[0] == pytest.approx(np.mean(losses))
    assert np.mean(losses) > 1, "a loss may be above 1, unlike an accuracy"
    half = stats.t.interval(0.95, len(losses) - 1, 0, stats.sem(losses))[1]
    assert (chart.data[0].error_y.array[0], chart.data[0].error_y.arrayminus[0]) == pytest.approx(
        (half, half)
    )


@pytest.mark.slow
def test_a_setting_of_its_own_is_a_law_of_its_own(write):
    other = [
        {
            **one,
            "trial_id": f"other{one['trial_id']}",
            "config": one["config"].replace('"lr":0.1', '"lr":0.2'),
        }
        for one in journey()
    ]
    found = scaling.answer(write([*journey(), *other]))
    assert [one.cells for one in found] == [21, 21] and found[0].setting != found[1].setting
    assert "for all 2 comparisons together (Bonferroni)" in scaling.note(found)


@pytest.mark.slow
def test_one_seed_has_a_law_without_intervals_and_compares_nothing(write):
    found = scaling.answer(write(journey(seeds=1)))
    said, _ = scaling.sentences(found)
    assert said.endswith("over 21 cells; 1 seed: no interval, and nothing is compared")
    assert {one["verdict"] for one in scaling.rows(found)} == {"open"}


@pytest.mark.parametrize(
    ("narrowed", "has"),
    [
        (lambda one: json.loads(one["config"])["epochs"] == 4, "7, with 7, 4 and 1"),
        (lambda one: json.loads(one["config"])["epochs"] < 16, "14, with 7, 4 and 2"),
        (lambda one: one["sparsity"] == 0.5, "6, with 2, 1 and 3"),
    ],
)
def test_too_few_cells_sizes_or_lengths_are_one_line_that_says_what_is_there(narrowed, has, write):
    """Never a fit of five parameters to fewer than eight cells, nor of an exponent to two values."""
    connection = write([one for one in journey(seeds=1) if narrowed(one)])
    found = scaling.answer(connection)
    [said] = scaling.sentences(found)
    assert f"here are at most {has}: run a study such as studies/journey.yaml" in said and "\n" not in said
    assert not scaling.rows(found)


def test_results_without_spent_steps_are_one_line(write):
    connection = write([{**one, "spent_steps": None} for one in journey(seeds=1)])
    [said] = scaling.sentences(scaling.answer(connection))
    assert "spent_steps, a column that older results lack" in said


@pytest.mark.slow
def test_nothing_is_certain_before_the_study_has_ended(write, tmp_path):
    write(journey())
    began = {"started_at": "2026-01-01T00:00:00+00:00", "trials": 99, "to_run": 99}
    launches.note_launch(tmp_path / "made", "made", "", began)
    found = scaling.answer(analysis.open(tmp_path / "made"))
    assert "which fits better is open after 63 of 99 trials of made" in scaling.sentences(found)[0]
    assert {one["verdict"] for one in scaling.rows(found)} == {"open"}


def test_losses_of_0_and_below_have_no_logarithm_and_are_left_out(write):
    rows = journey(seeds=1)
    rows[0]["val_loss"], rows[1]["val_loss"], rows[2]["val_loss"] = 0.0, -1.0, float("nan")
    assert len(ask(write(rows), "scaling")) == 18


@pytest.mark.slow
def test_the_report_and_the_command_show_it_and_other_results_have_no_section(write, made, tmp_path):
    connection = write(journey())
    page = report.render(connection, tmp_path / "made")
    assert "How does loss scale with weights and data?" in page and "Laws of loss" in page
    said = run("scaling", "--results", tmp_path / "made", "--format", "json")
    assert said.returncode == 0 and [one["size"] for one in json.loads(said.stdout)] == [
        "mean active weights", "final weights",
    ]  # fmt: skip
    assert analysis.scaling(tmp_path / "made").df()["alpha"][0] == pytest.approx(0.45, abs=0.2)
    assert "How does loss scale" not in report.render(analysis.open(made), made)
    said = run("scaling", "--results", made)
    assert said.returncode == 0 and "No law:" in said.stdout


@pytest.mark.slow
def test_the_verdict_in_words_is_that_of_the_comparison(write):
    [law] = scaling.answer(write(journey(seeds=1)))
    words = {verdict: scaling._verdict(replace(law.found, verdict=verdict)) for verdict in (1, 0, -1)}
    assert words == {1: "mean active weights fit better", 0: "open", -1: "final weights fit better"}
