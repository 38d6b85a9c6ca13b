"""Studies that come along are found by name, wherever a person is."""

from dataclasses import replace
from pathlib import Path

import pytest

from sweep import shipped
from sweep.errors import BadInput
from sweep.study import load
from sweep.study.identity import Trial
from sweep.trial import run


def test_a_name_is_a_study_unless_there_is_a_file_of_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("quickstart").mkdir()
    assert load("quickstart").name == "quickstart" and len(load("quickstart").trials()) == 216
    Path("quickstart").rmdir()
    Path("quickstart").write_text(
        "dataset: digits\nmodel: conv-5\nepochs: 1\ncriterion: snip\nsparsity: 0.5\n"
    )
    assert len(load("quickstart").trials()) == 1


@pytest.mark.parametrize("text", ["quickstat", "quickstart.yaml", "studies/quickstart.yaml"])
def test_what_is_nearly_a_name_says_so_in_one_line(text, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(
        BadInput, match=f"^{text}: there is no such file; did you mean quickstart, which comes with"
    ):
        load(text)


def test_no_study_hides_another_and_an_example_finds_its_part(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    files = [*Path(shipped.__file__).parent.glob("*/*.yaml")]
    assert len(files) == len(shipped.studies()) > 25
    assert load("criterion").parts


@pytest.mark.slow
@pytest.mark.parametrize(("name", "trials", "kinds"), [("sap", 297, 8), ("pruning-moment", 155, 5)])
def test_one_trial_of_each_kind_of_a_study_ends_with_an_accuracy(name, trials, kinds):
    """Kinds differ in the rule, its parameters and the indicator. They are trained for few epochs here."""
    found = load(name).trials()
    assert len(found) == trials
    by_kind = {}
    for trial in found:
        config = trial.config
        if config.iterations <= 2 or config.criterion == "crop":
            by_kind.setdefault((config.criterion, config.parameters, config.prune_when), config)
    assert len(by_kind) == kinds
    for config in by_kind.values():
        short = replace(config, epochs=4, prune_epoch=min(4, config.prune_epoch))
        assert run(Trial.of(short)).trial["status"] == "ok"


@pytest.mark.slow
@pytest.mark.parametrize("name", ["three-regimes", pytest.param("journey", marks=pytest.mark.long)])
def test_a_trial_of_each_block_runs_and_has_the_columns_that_its_question_asks_for(name):
    study = load(f"studies/{name}.yaml")
    first = {}
    for trial in study.trials():
        first.setdefault((trial.config.criterion, trial.config.epochs), trial)
    for trial in first.values():
        config = trial.config
        if config.parameters:  # of a longer text
            short = replace(config, parameters=(("dataset.book", "Ruth"),), update_every=1)
        else:
            prune, retrain = min(1, config.prune_epoch), config.retrain_epochs and 1
            short = replace(config, epochs=1, prune_epoch=prune, retrain_epochs=retrain)
        row = run(Trial.of(short)).trial
        assert row["status"] == "ok" and row["spent_steps"] > 0 and row["val_loss"] > 0
        if trial.config.twin_seed is not None:
            assert row["cka"] > 0 and None not in (row["lmc_barrier"], row["weight_distance"])
    assert len({trial.config.seed for trial in study.trials()}) >= 3, "intervals need seeds"
