"""Results of trials on text: their networks are made again, and every question and the report read them."""

import pytest
import torch

import pruners
from analysis import warehouse
from analysis.__main__ import main as ask
from analysis.questions import catalog
from analysis.report import report
from pruners import interop
from sweep.study.identity import Trial
from sweep.trial import run
from sweep.trial.__main__ import main
from tests import commands
from tests.sweep.trial import test_text
from tests.sweep.trial.earlier import record
from tests.sweep.trial.test_again import layers

root = test_text.root  # the fixture
BASE = {"steps": 8, "prune_epoch": 0.1, "layers": "* !head.*", "unit_score": "mean", "scope": "global"}
HEADS = {"structure": "head", "compensate": "bias"}
BLOCKS = {"structure": "depth", "sparsity": 0.34, "shrink": True}
KINDS = {
    "dense": {"sparsity": 0},
    "heads": HEADS | {"criterion": "flap"},
    "heads, by size": HEADS | {"criterion": "activation"},
    "blocks": BLOCKS | {"criterion": "block-influence"},
    "blocks at random": BLOCKS | {"criterion": "random"},
    "neurons": {"structure": "neuron", "criterion": "activation", "retrain": "lora"},
    "owl": {"criterion": "wanda", "scope": "owl", "compensate": "obs", "retrain_loss": "distill"},
}


@pytest.fixture(scope="module")
def made(root, tmp_path_factory):
    """The root of the results of two seeds of each kind, which keep masks and weights; a row of each kind."""
    folder, rows, given = tmp_path_factory.mktemp("results"), {}, []
    for seed in (1, 0):
        for kind, fields in KINDS.items():
            asked = Trial.of(test_text.config(**(BASE | fields), seed=seed))
            keeps = folder / "song"
            given.append(run(asked, root, masks=True, keeps=keeps, metrics=["bits_per_byte"]))
            rows[kind] = given[-1].trial
    record(folder, "song", given)
    return folder, rows


@pytest.mark.slow
@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "dense"])
def test_kept_weights_and_masks_of_a_text_are_those_of_the_trial_run_again(kind, made, root, tmp_path):
    results, rows = made
    row, out, kept = rows[kind], tmp_path / "net.safetensors", tmp_path / "kept.safetensors"
    words = (row["trial_id"], "--results", results, "--data-root", root)
    for more in (("--out", out), ("--kept", "--out", kept)):
        done = commands.run(main, *words, *more)
        assert (done.returncode, done.stderr) == (0, ""), more
        assert done.stdout.startswith(f"test token-accuracy {row['test_accuracy']:.4f}, as in the row\n")
    again, written = interop.load(out), interop.load(kept)
    assert again.keys() == written.keys()
    assert all(torch.equal(each, again[name]) for name, each in written.items())
    masks = {name: mask for name, mask in interop.masks_of(again).items() if mask.dim() > 1}
    packed = dict(layers(results, row["trial_id"]))
    # The file of a network that has lost a block has no masks of it.
    gone = packed.keys() - masks.keys()
    assert bool(gone) == (kind in ("blocks", "blocks at random")) and packed.keys() > gone
    assert all(torch.equal(mask, masks[name]) for name, mask in packed.items() if name not in gone)
    assert not any(packed[name].any() for name in gone)
    assert sum(int(mask.count_nonzero()) for mask in packed.values()) == row["kept"]
    assert row["density"] < 1 and min(pruners.densities(packed).values()) == row["min_layer_density"]


ARMS = "flap", "activation", "block-influence", "random"
# Question → words of its answer; of the others one line says what they lack.
ANSWERED = {
    "best": ARMS,
    "accuracy": (*ARMS, "wanda owl", "dense"),
    "cost": (*ARMS, "wanda owl", "dense"),
    "layers": ("blocks.1.feedforward.down.weight",),
    "masks": ("flap", "activation", "block-influence"),
    "correlation": ("compensate bias",),
    "collapse": (*ARMS, "wanda owl"),
    "regimes": ARMS,
    "better": ("block-influence", "random global"),
    "seeds": ("block-influence", "random global"),
}


@pytest.mark.slow
@pytest.mark.parametrize("metric", [None, "bits_per_byte"])
def test_every_question_of_a_text_has_an_answer_or_one_line(metric, made):
    for question in (each for each in catalog.QUESTIONS if each.is_command):
        words = ("--metric", metric) if metric and question.about_accuracy else ()
        said = commands.run(ask, question.name, "--results", made[0], *words)
        assert said.returncode in (0, 2) and said.stderr.count("\n") == said.returncode // 2, question.name
        if question.name in ANSWERED:
            assert said.returncode == 0 and not said.stdout.startswith("No "), question.name
            assert all(word in said.stdout for word in ANSWERED[question.name]), question.name


@pytest.mark.slow
@pytest.mark.parametrize("metric", [None, "bits_per_byte"])
def test_the_report_of_a_text_has_every_arm_in_the_metric_that_is_asked(metric, made):
    page = report.render(warehouse.open([str(made[0])], metric=metric), [str(made[0])])
    for word in ("compensate bias", "structure head", "structure depth", "owl", metric or "token-accuracy"):
        assert word in page, word
