"""An earlier trial is found by its id, run again, and compared with its row."""

import json
import random

import numpy as np
import onnxruntime
import pytest
import torch

import analysis
import pruners
from pruners import interop
from sweep import data, models
from sweep.errors import BadInput
from sweep.store import kept
from sweep.store import weights as sent
from sweep.study import load
from sweep.study.identity import Trial
from sweep.trial import again, failure, run
from sweep.trial.__main__ import main
from tests import commands
from tests.sweep.trial.earlier import record, study  # noqa: F401 (a fixture)
from tests.sweep.trial.test_run import trial


def predicted(config, path):
    """The classes that the network of a file gives test images, by plain torch; the images, and the truth."""
    loaded = data.load(config.dataset, "data", config.validation_fraction, config.roots.split)
    network = models.build(config.model, loaded.shape, loaded.classes, 0).eval()
    network.load_state_dict(interop.weights_of(interop.load(path)))
    with torch.inference_mode():
        chosen = network(loaded.inputs(loaded.test.images)).argmax(1)
    return chosen, loaded.test.images, loaded.test.labels


def layers(root, trial_id):
    """The kept masks of a trial by layer, from their bits, and the density that its row of `layers` says."""
    rows = analysis.open(root).execute(
        "SELECT masks.name, masks.shape, masks.params, masks.kept, bits, density FROM masks "
        f"JOIN layers USING (trial_id, layer, name, shape, params, kept) WHERE trial_id = '{trial_id}'"
    )
    for name, shape, params, left, bits, density in rows.fetchall():
        mask = np.unpackbits(np.frombuffer(bits, np.uint8), count=params).astype(bool).reshape(shape)
        assert mask.sum() == left and left / params == density
        yield name, torch.from_numpy(mask)


@pytest.mark.slow
def test_kept_weights_are_those_of_the_trial_run_again_and_give_its_row_and_its_program(study, tmp_path):  # noqa: F811
    """Without training: for a pruning, one within a training, and one of filters, which takes biases too."""
    root, rows = study
    wanted = {"rigl": None, "snip": None, "magnitude": "filter"}
    for criterion, structure in wanted.items():
        row = next(r for r in rows if r["criterion"] == criterion and structure in (None, r["structure"]))
        out, words = tmp_path / "net.safetensors", (row["trial_id"], "--results", root)
        done = commands.run(main, *words, "--kept", "--out", out, "--export", "onnx")
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.startswith(f"test accuracy {row['test_accuracy']:.4f}, as in the row\n")
        given = interop.load(root / "small" / "weights" / f"{row['trial_id']}.safetensors")
        assert commands.run(main, *words, "--out", tmp_path / "again.safetensors").returncode == 0
        for file in (out, tmp_path / "again.safetensors"):
            written = interop.load(file)
            assert written.keys() == given.keys()
            assert all(torch.equal(written[name], given[name]) for name in given)
        chosen, images, labels = predicted(Trial.parse(row["config"]).config, out)
        assert (chosen == labels).double().mean().item() == pytest.approx(row["test_accuracy"], abs=1e-6)
        session = onnxruntime.InferenceSession(tmp_path / "net.onnx")
        [outputs] = session.run(None, {"inputs": images.float().numpy()})
        assert np.array_equal(outputs.argmax(1), chosen.numpy())


@pytest.mark.slow
def test_twenty_random_trials_give_their_rows_bit_for_bit_and_their_networks(study, tmp_path):  # noqa: F811
    root, rows = study
    for row in random.Random(0).sample(rows, 20):
        out = tmp_path / "net.safetensors"
        done = commands.run(main, row["trial_id"], "--results", root, "--out", out)
        assert done.returncode == 0, done.stderr
        assert done.stdout.startswith(f"test accuracy {row['test_accuracy']:.4f}, as in the row\n")
        masks = {name: mask for name, mask in interop.masks_of(interop.load(out)).items() if mask.dim() > 1}
        assert sum(int(mask.count_nonzero()) for mask in masks.values()) == row["kept"]
        assert sum(mask.numel() for mask in masks.values()) == row["params"]
        weights = interop.load(out)
        assert not any(weights[name][~mask].any() for name, mask in masks.items())
        assert min(pruners.densities(masks).values()) == row["min_layer_density"]
        packed = dict(layers(root, row["trial_id"]))
        assert packed.keys() == masks.keys()
        assert all(torch.equal(packed[name], masks[name]) for name in packed)
        chosen, _, labels = predicted(Trial.parse(row["config"]).config, out)
        assert (chosen == labels).double().mean().item() == pytest.approx(row["test_accuracy"], abs=1e-6)


@pytest.fixture
def few(tmp_path):
    """The root of results of three trials: one is sound, one failed, and one diverged."""
    sound, wild = trial(epochs=1), trial(model="lenet-300-100", lr=1e30, epochs=2)
    failed = trial(epochs=1, seed=3)
    record(tmp_path, "few", [run(sound), run(wild), failure(failed, "Traceback …")])
    return tmp_path, sound, failed, wild


@pytest.mark.slow
def test_a_trial_is_named_by_the_beginning_of_its_id_or_its_canonical_config(few):
    root, sound, *_ = few
    for folder in (root, root / "few"):
        for text in (sound.id, sound.id[:6], sound.canonical):
            found = again.find(text, folder)
            assert found.trial == sound and found.recorded.row["trial_id"] == sound.id
    assert again.find(trial(seed=9).canonical, root).recorded is None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("0", "no trial under .* has an id that begins so"),
        ("snip", "no id of a trial"),
        ("", "no id of a trial"),
        ("{}", "no canonical config"),
        ('{"protocol": 2}', "no canonical config"),
        ('{"protocol": 2, "criterion": "snip"', "no canonical config"),
        ('{"protocol": 2, "color": "red"}', "no canonical config"),
    ],
)
def test_a_text_that_names_no_trial_is_one_line(text, said, tmp_path):
    done = commands.run(main, text, "--results", tmp_path)
    assert done.returncode == 2 and done.stderr.count("\n") == 1 and not done.stdout
    with pytest.raises(BadInput, match=said):
        again.find(text, tmp_path)


def test_digits_that_several_ids_begin_with_are_one_line(tmp_path):
    trials = [trial(seed=seed) for seed in range(17)]
    record(tmp_path, "many", [failure(each, "no") for each in trials])
    first = [each.id[0] for each in trials]
    twice = next(digit for digit in first if first.count(digit) > 1)
    with pytest.raises(BadInput, match=f"{twice}: {first.count(twice)} trials .*: give more digits"):
        again.find(twice, tmp_path)


def test_a_row_of_another_version_is_not_run_as_if_it_were_of_this_one(tmp_path):
    given = failure(trial(), "no")
    given.trial["trial_id"] = "0123456789abcdef"
    record(tmp_path, "old", [given])
    with pytest.raises(BadInput, match="of another version"):
        again.find("0123", tmp_path)


@pytest.mark.slow
def test_what_differs_from_the_row_is_said_with_the_hardware_and_version_of_the_row(tmp_path):
    asked = trial(epochs=1)
    given = run(asked)
    given.trial["test_accuracy"] -= 0.25
    record(tmp_path, "other", [given])
    done = commands.run(main, asked.id, "--results", tmp_path)
    assert done.returncode == 0
    assert "differs by +0.25 from " in done.stdout
    assert "the row was run on cpu with torch 2.0.0, this trial on cpu with torch " in done.stdout
    given.trial["test_accuracy"] += 0.25
    given.trial["test_loss"] *= 2
    record(tmp_path, "other", [given])
    assert "as in the row, but for test_loss; the row was run" in (
        commands.run(main, asked.id, "--results", tmp_path).stdout
    )


@pytest.mark.slow
def test_trials_without_an_accuracy_in_their_row(few, tmp_path):
    root, _, failed, wild = few
    done = commands.run(main, failed.id, "--results", root)
    assert done.returncode == 0 and "; the row has none: its status is failed" in done.stdout
    out = tmp_path / "net.safetensors"
    done = commands.run(main, wild.id, "--results", root, "--out", out)
    assert (done.returncode, done.stdout) == (1, "diverged, as in the row\n") and not out.exists()


SCORES = """\
def mine(probe):
    return {name: weight.abs() for name, weight in probe.weights.items()}


def broken(probe):
    weights = dict(probe.weights)
    return weights["nowhere"]
"""


@pytest.fixture
def own(tmp_path):
    """A study of two criteria of one's own, with results of both; one of them fails."""
    (tmp_path / "scores.py").write_text(SCORES)
    path = tmp_path / "own.yaml"
    path.write_text(
        "dataset: digits\nmodel: conv-5\nepochs: 1\nsparsity: 0.5\ncriterion: [scores.py:mine, scores.py:broken]\n"
    )
    sound, broken = load(path).trials()
    record(tmp_path / "results", "own", [run(sound), failure(broken, "KeyError")])
    return path, sound, broken


@pytest.fixture
def nothing_known(monkeypatch):
    """As in a process that has read no study."""
    monkeypatch.setattr("sweep.parts.part._KNOWN", {})


@pytest.mark.slow
def test_a_trial_with_a_part_takes_the_study_that_names_the_part(own, nothing_known):
    path, sound, _ = own
    words = sound.id, "--results", path.parent / "results"
    done = commands.run(main, *words)
    assert done.returncode == 2 and "scores.py:mine: it is no built-in part: give the study" in done.stderr
    done = commands.run(main, *words, "--study", path)
    assert (done.returncode, done.stderr) == (0, "") and done.stdout.endswith(", as in the row\n")


@pytest.mark.slow
def test_a_part_whose_code_has_changed_is_one_line(own, nothing_known):
    path, sound, _ = own
    (path.parent / "scores.py").write_text(SCORES.replace("weight.abs()", "-weight.abs()"))
    done = commands.run(main, sound.id, "--results", path.parent / "results", "--study", path)
    assert done.returncode == 2 and done.stderr.count("\n") == 1
    assert "scores.py:mine is of code " in done.stderr and "bring that code back" in done.stderr
    path.write_text("dataset: digits\nmodel: conv-5\nepochs: 1\nsparsity: 0.5\ncriterion: snip\n")
    done = commands.run(main, sound.id, "--results", path.parent / "results", "--study", path)
    assert done.returncode == 2 and "it does not name scores.py:mine" in done.stderr


@pytest.mark.slow
def test_a_trial_that_fails_shows_the_whole_traceback(own):
    path, _, broken = own
    done = commands.run(main, broken.id, "--results", path.parent / "results", "--study", path)
    assert done.returncode == 1 and not done.stdout
    assert 'return weights["nowhere"]' in done.stderr and "sweep/trial/stages.py" in done.stderr
    assert done.stderr.endswith("KeyError: 'nowhere'\n")


@pytest.mark.slow
def test_the_debugger_starts_where_the_trial_fails(own, monkeypatch):
    path, _, broken = own
    frames = []

    def post_mortem(trace):
        while trace.tb_next:
            trace = trace.tb_next
        frames.append((trace.tb_frame.f_code.co_name, sorted(trace.tb_frame.f_locals)))

    monkeypatch.setattr("pdb.post_mortem", post_mortem)
    done = commands.run(main, broken.id, "--results", path.parent / "results", "--study", path, "--pdb")
    assert done.returncode == 1 and frames == [("broken", ["probe", "weights"])]


@pytest.mark.slow
def test_without_kept_weights_kept_is_one_line(few):
    root, sound, failed, _ = few
    for asked in (sound, failed):
        done = commands.run(main, asked.id, "--results", root, "--kept")
        assert done.returncode == 2 and done.stderr.count("\n") == 1 and not done.stdout
        assert f"--kept: no weights of {asked.id} are kept" in done.stderr
    done = commands.run(main, trial(seed=9).canonical, "--results", root, "--kept")
    assert done.returncode == 2 and "are kept" in done.stderr


@pytest.mark.slow
def test_kept_weights_of_another_network_are_one_line(few):
    root, sound, *_ = few
    other = {"0.weight": torch.zeros(2, 2), "0.weight_mask": torch.ones(2, 2, dtype=torch.bool)}
    for content, said in ((interop.encode(other), "they lack"), (b"no file", "no weights can be read")):
        kept.write(root / "few", sound.id, content)
        done = commands.run(main, sound.id, "--results", root, "--kept")
        assert done.returncode == 2 and done.stderr.count("\n") == 1 and said in done.stderr


@pytest.mark.slow
def test_verbose_says_each_epoch(few):
    root, sound, *_ = few
    done = commands.run(main, sound.id, "--results", root, "--verbose")
    [curve] = run(sound).curves
    assert done.stdout.splitlines()[0].split() == [
        *("retrain", "epoch", "1", "loss", f"{curve['train_loss']:.4f}"),
        *("validation", f"{curve['val_accuracy']:.4f}", "kept", f"{curve['kept']:,}"),
    ]


@pytest.mark.parametrize(
    "words",
    [
        ("--out", "net.pt"),
        ("--export", "onnx"),
        ("--export", "tflite", "--out", "net.safetensors"),
        ("--device", "abacus"),
        ("--data-root", "nowhere"),
    ],
)
def test_options_that_cannot_be_met_are_one_line_before_the_trial_runs(words, tmp_path, monkeypatch):
    asked = trial(dataset="mnist", model="lenet-5-caffe")
    monkeypatch.setattr(again, "prepared", again.prepared if "nowhere" in words else None)
    done = commands.run(main, asked.canonical, "--results", tmp_path, *words)
    assert done.returncode == 2 and done.stderr.count("\n") == 1 and not done.stdout


@pytest.mark.slow
def test_trained_weights_come_from_the_folder_of_results_and_from_earlier_trials(few):
    root, sound, *_ = few
    out = root / "net.safetensors"
    assert commands.run(main, sound.id, "--results", root, "--out", out).returncode == 0
    later = trial(weights=f"run:{sound.id}", sparsity=0.95, epochs=1)
    done = commands.run(main, later.canonical, "--results", root / "few")
    assert done.returncode == 0, done.stderr
    # A study takes the file that was written as the same trained weights.
    path = root / "next.yaml"
    path.write_text(
        f"dataset: digits\nmodel: conv-5\nlr: 0.2\nepochs: 1\nsparsity: 0.95\ncriterion: snip\nweights: {out}\n"
    )
    asked = load(path)
    [other] = asked.trials()
    for name, file in asked.weights.items():
        sent.send(name, file, root / sent.FOLDER)
    assert commands.run(main, other.canonical, "--results", root).stdout == done.stdout
    assert json.loads(other.canonical)["weights"].startswith("net.safetensors@")
