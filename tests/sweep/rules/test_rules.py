"""A rule is one object: study, plan and trial use what it declares and never its name."""

import re
from pathlib import Path

import pytest
import torch

import pruners
from sweep import plan, rules
from sweep.config import DRAWN, FIELDS, Config
from sweep.engine.preflight import check_here
from sweep.errors import BadInput
from sweep.rules.rule import Rule, length
from sweep.rules.run import Run
from sweep.seeds import generator
from sweep.study import load
from sweep.study.identity import Trial
from sweep.trial import run

SOURCES = {
    path: path.read_text()
    for package in ("sweep", "pruners", "analysis")
    for path in Path(package).rglob("*.*")
    if path.suffix in (".py", ".sql") and path.parent != Path("sweep/rules")
}


def config(**fields):
    base = {"dataset": "digits", "model": "conv-5", "criterion": "snip", "sparsity": 0.9, "epochs": 2}
    return Config(**(base | fields))


@pytest.mark.parametrize("name", rules.RULES)
def test_no_code_outside_a_rules_file_compares_its_name(name):
    word = rf"""(=|<>|\bin\b|\bcase\b|startswith)\s*[(\[{{]*([^#\n]*,\s*)?["']{name}["']"""
    compared, constant = re.compile(word, re.IGNORECASE), re.compile(r"^_?[A-Z]+ = ")
    asking = [
        f"{path}: {line}"
        for path, text in SOURCES.items()
        if re.search(rf"""["']{name}["']""", text, re.IGNORECASE)  # most files do not name it at all
        for line in text.splitlines()
        if compared.search(line) and not constant.match(line)
    ]
    assert not asking


def test_rules_that_draw_masks_are_those_that_analyses_tell_from_criteria():
    assert {rule.name for rule in rules.RULES.values() if rule.draws} == DRAWN


@pytest.mark.parametrize("criterion", [*rules.RULES, *pruners.names()])
def test_a_rule_reads_existing_fields_and_the_others_are_irrelevant(criterion):
    fields = {"dense": {"sparsity": 0}, "oracle": {"structure": "filter"}}.get(criterion, {})
    asked = config(criterion=criterion, **fields)
    read = rules.find(criterion).reads(asked)
    assert read <= set(FIELDS)
    unread = {"score_batches": 7, "update_every": 7, "score_init": "fresh", "initial_scope": "uniform"}
    for name, value in unread.items():
        moved = Trial.of(config(criterion=criterion, **fields, **{name: value}))
        assert (moved == Trial.of(asked)) == (name not in read), name


class RandomHalf(Rule):
    """Prunes a random half of the kept weights at each epoch, down to the sparsity."""

    name = "random-half"
    last_phase = "sparse"

    def reads(self, config: Config) -> frozenset[str]:
        return frozenset({"scope", "mask_seed"})

    def dense_until(self, config: Config) -> float:
        return 0

    def steps(self, config: Config, epoch: int) -> int:
        return length(config, epoch)

    def run(self, run: Run) -> None:
        masks, sparsity = run.full_masks(), 0.0
        epoch = run.steps_of(1)

        def halve(step: int) -> bool:
            nonlocal masks, sparsity
            if step % epoch == 0 and sparsity < run.config.sparsity:
                sparsity = min(run.config.sparsity, 1 - (1 - sparsity) / 2)
                draws = generator(run.config.roots.mask, "half", step)
                scores = {
                    name: torch.rand(mask.shape, generator=draws) * mask for name, mask in masks.items()
                }
                flat = torch.cat([score.flatten() for score in scores.values()])
                kept = pruners.keep_top(flat, pruners.kept_count(run.total, sparsity))
                sizes = [mask.numel() for mask in masks.values()]
                masks = {
                    name: part.view(masks[name].shape)
                    for name, part in zip(masks, kept.split(sizes), strict=True)
                }
                run.mask(masks)
            return False

        run.train("sparse", run.end, halve)
        run.record(masks)


@pytest.fixture
def random_half(monkeypatch):
    monkeypatch.setitem(rules.RULES, RandomHalf.name, RandomHalf())


@pytest.mark.slow
def test_a_new_rule_is_one_object_and_one_line_in_the_table(random_half):
    trials = [
        Trial.of(config(criterion="random-half", epochs=5, seed=seed, score_batches=9)) for seed in (0, 1)
    ]
    assert trials[0].config.score_batches == 1, "irrelevant, as the rule does not read it"
    check_here(trials, "data", 0, False)
    chains = plan.share([*trials, Trial.of(config(epochs=5, prune_epoch=1))])
    assert [len(chain) for chain in chains] == [1, 1, 1]
    assert plan.training_steps(trials[0].config, 12) == 60
    one, other = map(run, trials)
    assert one.trial["status"] == "ok" and one.trial["density"] == pytest.approx(0.1, abs=1e-4)
    kept = [row["kept"] for row in one.curves]
    assert kept == sorted(kept, reverse=True) and kept[1] == pytest.approx(kept[0] / 2, abs=1)
    assert one.layers[0]["kept"] != other.layers[0]["kept"], "each seed draws other halves"


def test_the_error_of_an_unknown_rule_names_the_nearest():
    with pytest.raises(ValueError, match="no such criterion; did you mean"):
        config(criterion="random-hal")


def test_an_inconsistency_with_a_rule_is_one_line():
    with pytest.raises(BadInput, match="oracle removes filters: give it structure: filter"):
        Trial.of(config(criterion="oracle"))


LATE_SNIP = """\
import pruners
from sweep.parts import rule


@rule(reads=["score_batches", "score_batch_size", "mask_seed"])
def late_snip(run, *, times: int = 2):
    for time in range(1, times + 1):
        sparsity = 1 - (1 - run.config.sparsity) ** (time / times)
        masks = pruners.prune("snip", run.model, run.batches(), sparsity=sparsity, loss=run.loss)
        run.mask(masks)
        run.train("retrain", run.end * time // times)
    run.record(masks)
"""


@pytest.mark.slow
def test_an_own_rule_scores_on_the_batches_of_its_trial(tmp_path):
    (tmp_path / "rules.py").write_text(LATE_SNIP)
    path = tmp_path / "late.yaml"
    path.write_text(
        "dataset: digits\nmodel: conv-5\nepochs: 1\nsparsity: 0.9\ncriterion: rules.py:late_snip\n"
        "score_batches: [1, 2]\nmask_seed: [1, 2]\n"
    )
    trials = load(path).trials()
    assert len({trial.id for trial in trials}) == 4
    layers = [[row["kept"] for row in run(trial).layers] for trial in trials]
    assert run(trials[0]).layers[0]["kept"] == layers[0][0]
    assert len(set(map(tuple, layers))) == 4


CHANNELS = """\
import pruners
from sweep.parts import rule


@rule(reads=["structure", "unit_score"])
def channels(run, *, sparsity: float = 0.5):
    run.prune(
        next(
            pruners.trajectory(
                "magnitude",
                run.model,
                sparsity=sparsity,
                structure=run.config.structure,
                unit_score=run.config.unit_score,
                units=run.units,
            )
        )
    )
    run.train("retrain", run.end)
"""


@pytest.mark.slow
def test_an_own_rule_of_units_keeps_as_many_of_them_as_the_sparsity_says(tmp_path):
    (tmp_path / "rules.py").write_text(CHANNELS)
    path = tmp_path / "channels.yaml"
    path.write_text(
        "dataset: digits\nmodel: conv-5\nsteps: 2\nsparsity: 0.5\ncriterion: rules.py:channels\n"
        "structure: [channel, filter]\ncriterion.sparsity: [0.5, 0.8]\n"
    )
    outcomes = {}
    for trial in load(path).trials():
        try:
            outcomes[trial.config.structure, trial.config.value("criterion.sparsity")] = run(trial).trial[
                "status"
            ]
        except BadInput as error:
            assert "keeps" in str(error) and "at sparsity 0.5, or @rule(exact=False)" in str(error)
            outcomes[trial.config.structure, trial.config.value("criterion.sparsity")] = "refused"
    assert outcomes == {
        (structure, sparsity): status
        for structure in ("channel", "filter")
        for sparsity, status in ((0.5, "ok"), (0.8, "refused"))
    }
