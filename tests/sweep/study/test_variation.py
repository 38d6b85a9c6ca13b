"""A study that extends another one, or takes values from the command line, is the flat study it stands for."""

import io
import sys
import time

import pytest

from sweep.errors import BadInput
from sweep.study import load

BASE = """\
name: base
description: the first
tags: [digits]
price_per_gpu_hour: 2
metrics: [top5]
dataset: digits
model: conv-5
epochs: 4
sparsity: [0.9, 0.99]
seed: [0, 1]
blocks:
  - criterion: random
    scope: [global, erk]
  - criterion: force
    iterations: [10, 60]
    sparsity: 0.5
"""
SEARCH = """\
dataset: digits
model: conv-5
epochs: 4
lr: 0.2
search:
  trials: 5
  space:
    criterion: [snip, random]
    sparsity: [0.5, 0.9]
    prune_epoch: {low: 0, high: 3}
"""


@pytest.fixture
def files(tmp_path):
    """Writes study files, and returns the path of the last one."""

    def write(**contents):
        for name, content in contents.items():
            path = tmp_path / f"{name}.yaml"
            path.write_text(content)
        return path

    return write


def ids(study):
    return {trial.id for trial in study.trials()}


def values(study, field):
    return {getattr(trial.config, field) for trial in study.trials()}


def refused(path, *settings):
    with pytest.raises(BadInput) as error:
        load(path, settings=settings)
    return str(error.value).replace(f"{path.parent}/", "")


@pytest.mark.parametrize(
    ("varied", "flat"),
    [
        ("seed: 0..4", BASE.replace("seed: [0, 1]", "seed: [0, 1, 2, 3, 4]")),
        ("seed+: [7]", BASE.replace("seed: [0, 1]", "seed: [0, 1, 7]")),
        ("sparsity: 0.8", BASE.replace("sparsity: [0.9, 0.99]", "sparsity: 0.8").replace("    sparsity: 0.5\n", "")),
        (
            "sparsity+: 0.8",
            BASE.replace("[0.9, 0.99]", "[0.9, 0.99, 0.8]").replace("sparsity: 0.5", "sparsity: [0.5, 0.8]"),
        ),
        ("steps: 30", BASE.replace("epochs: 4", "steps: 30")),
        ("lr: [0.1, 0.2]", BASE + "lr: [0.1, 0.2]\n"),
        ("blocks: [{criterion: snip}]", BASE[: BASE.index("blocks")] + "criterion: snip\n"),
        ("blocks+: [{criterion: snip}]", BASE + "  - {criterion: snip}\n"),
    ],
)  # fmt: skip
def test_a_variation_has_the_trials_and_ids_of_its_flat_file(varied, flat, files):
    expected = ids(load(files(flat=flat)))
    extending = files(base=BASE, v=f"extends: base.yaml\n{varied}\n")
    assert ids(load(extending)) == expected
    setting = varied.replace(": ", "=", 1).replace("+: ", "+=", 1)
    assert ids(load(files(base=BASE), settings=[setting])) == expected


def test_all_but_name_and_description_is_inherited(files):
    study = load(files(base=BASE, v="extends: base.yaml\nmetrics+: ece\n"))
    assert (study.name, study.about) == ("v", {"description": "", "tags": ["digits"]})
    assert (study.price_per_gpu_hour, study.metrics) == (2, ("top5", "ece"))
    study = load(files(v="extends: base.yaml\ndescription: 2 more\ntags+: [new, digits]\nname: other\n"))
    assert (study.name, study.about) == ("other", {"description": "2 more", "tags": ["digits", "new"]})


def test_several_levels_each_relative_to_its_own_file(files, tmp_path):
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "base.yaml").write_text(BASE)
    (tmp_path / "sub" / "mid.yaml").write_text("extends: base.yaml\nseed: 5\n")
    study = load(files(top="extends: sub/mid.yaml\nseed+: 6\n"))
    assert values(study, "seed") == {5, 6} and values(study, "sparsity") == {0.9, 0.99, 0.5}


def test_references_go_from_the_file_that_they_stand_in(files, tmp_path, monkeypatch):
    for folder, more in ((tmp_path, ""), (tmp_path / "sub", "1")):
        folder.mkdir(exist_ok=True)
        (folder / "own.py").write_text(f"def mine(probe): return {more}\n")
        (folder / "w.pt").write_bytes(b"0" if more else b"1")
        (folder / "r.yaml").write_text(f"longer: {{lr: {0.3 if more else 0.2}}}\n")
    base = BASE[: BASE.index("blocks")] + "criterion: own.py:mine\nweights: w.pt\nrecipe: r.yaml:longer\n"
    (tmp_path / "sub" / "base.yaml").write_text(base)
    path = files(v="extends: sub/base.yaml\n")
    assert ids(load(path)) == ids(load(tmp_path / "sub" / "base.yaml"))
    assert values(load(path), "lr") == {0.3}
    own = files(own="extends: sub/base.yaml\ncriterion+: own.py:mine\nweights: w.pt\n")
    assert len(load(own).parts) == 2 and load(own).weights.keys() != load(path).weights.keys()
    monkeypatch.chdir(tmp_path)  # arguments go from the current folder
    assert values(load("sub/base.yaml", settings=["recipe=r.yaml:longer"]), "lr") == {0.2}


def test_the_kept_text_is_that_of_the_flat_study(files, tmp_path):
    path = files(base=BASE, v="extends: base.yaml\nx-a: &a {lr: 0.3}\n<<: *a\nseed+: 0..4\ntags+: '1'\n")
    study = load(path, settings=["sparsity+=0.7", "momentum=0.5"])
    kept = tmp_path / "kept.yaml"
    kept.write_text(study.text)
    again = load(kept)
    assert ids(again) == ids(study) and again.about == study.about
    assert "extends" not in study.text and "x-a" not in study.text
    assert load(tmp_path / "base.yaml").text == BASE


def test_a_search_is_inherited_setting_by_setting_and_dimension_by_dimension(files):
    more = "extends: base.yaml\nsearch:\n  trials: 9\n  space:\n    lr: {low: 0.1, high: 1}\n"
    search = load(files(base=SEARCH, v=more)).search
    assert search.trials == 9 and "lr" not in search.given
    assert [each.name for each in search.dimensions] == ["criterion", "sparsity", "prune_epoch", "lr"]
    search = load(files(v="extends: base.yaml\ncriterion+: force\nsparsity: 0.7\nlr: 0.4\n")).search
    dimensions = {each.name: each.values for each in search.dimensions}
    assert dimensions["criterion"] == ("snip", "random", "force") and dimensions["sparsity"] == (0.7,)
    assert search.given["lr"].value == 0.4
    search = load(files(base=SEARCH), settings=["search={trials: 2}", "prune_epoch={low: 0, high: 1}"]).search
    assert search.trials == 2 and search.dimensions[2].high == 1


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ("extends: bas.yaml", "v.yaml:1: extends bas.yaml: there is no file"),
        ("extends: bas.yaml", "did you mean base.yaml?"),
        ("extends: [base.yaml]", "v.yaml:1: extends: one value belongs here, not a list"),
        ("extends: {a: b}", "v.yaml:1: extends: a value or a list of values, nothing nested"),
        ("extends: /", "v.yaml:1: extends /: there is no file /"),
        ("extends: v.yaml", "v.yaml:1: extends v.yaml: a circle: that study extends this one, or is this one"),
        ("# a\nextends: ring.yaml", "ring.yaml:2: extends v.yaml: a circle"),
        ("extends: faulty.yaml", "faulty.yaml:2: sparsity 2: input should be less than 1"),
        ("extends: unknown.yaml", "unknown.yaml:1: unknown key 'sed' in a study; did you mean seed?"),
        ("extends: base.yaml\nseed: x", "v.yaml:2: seed x: text, where a whole number belongs"),
        ("extends: base.yaml\nlr+: 0.2", "v.yaml:2: lr+: the study has no lr to add to: write lr"),
        ("seed+: 3\nmodel: conv-5", "v.yaml:1: seed+ adds to a study that this one extends: none is named"),
        ("extends: base.yaml\nname+: x", "v.yaml:2: unknown key 'name+' in a study; did you mean name?"),
        ("extends: base.yaml\nepochs: 3\nsteps: 4", "give epochs or steps, not both"),
        ("extends: base.yaml\nblocks: []", "v.yaml:2: blocks is a list of mappings"),
        ("extends: base.yaml\nsearch: {space: {lr: [1]}}", "base.yaml:12: blocks: a search has none"),
        ("extends: search.yaml\nprune_epoch+: 1", "v.yaml:2: prune_epoch+: prune_epoch is a mapping in the space"),
        ("extends: base.yaml\ntags: [two words]", "v.yaml:2: tags two words: a tag is one word of up to 100 letters"),
        ("extends: base.yaml\ndescription: [a]", "v.yaml:2: description: one value belongs here"),
    ],
)  # fmt: skip
def test_a_fault_is_one_line_that_names_the_file_it_is_in(content, why, files):
    files(
        ring="\nextends: v.yaml\n", faulty="dataset: digits\nsparsity: 2\n", unknown="sed: 3\n", search=SEARCH
    )
    said = refused(files(base=BASE, v=content + "\n"))
    assert why in said and "\n" not in said


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (["epochs=x"], "--set epochs=x: epochs x: text, where a whole number belongs"),
        (["seed=0..2", "epoch=3"], "--set epoch=3: unknown key 'epoch' in a study; did you mean epochs?"),
        (["seed=1", "seed=2"], "--set seed=2: seed is given twice"),
        (["epochs"], "--set epochs: write FIELD=VALUES"),
        (["epochs="], "--set epochs=: write FIELD=VALUES"),
        (["seed=[0"], "--set seed=[0: not YAML: "),
        (
            ["criterion=snipp"],
            "--set criterion=snipp: criterion snipp: no such criterion; did you mean snip?",
        ),
        (["extends=base.yaml"], "--set extends=base.yaml: unknown key 'extends'"),
        (["seed=\x1b[2J"], r"--set seed=\x1b[2J: not YAML: "),
        (["lr+=1"], "--set lr+=1: lr+: the study has no lr to add to: write lr"),
    ],
)
def test_a_fault_of_the_command_line_names_the_argument(settings, said, files):
    assert refused(files(base=BASE), *settings).startswith(said)


def test_merge_keys_and_helper_keys(files):
    merged = """\
x-long: &long {epochs: 5, lr: 0.2}
x-odd: [[anything], {goes: here}]
x-both: &both
  <<: *long
  lr: 0.3
<<: *both
dataset: digits
model: conv-5
sparsity: 0.9
blocks:
  - {<<: [{seed: 1, scope: erk}, {seed: 2}], criterion: random}
  - criterion: snip
"""
    flat = "dataset: digits\nmodel: conv-5\nsparsity: 0.9\nepochs: 5\nlr: 0.3\nblocks:\n"
    flat += "  - {criterion: random, seed: 1, scope: erk}\n  - criterion: snip\n"
    assert ids(load(files(m=merged))) == ids(load(files(flat=flat)))
    needed = "dataset: digits\nmodel: conv-5\nsparsity: 0.9\ncriterion: snip\nepochs: 2\n"
    assert ids(load(files(m=needed + "<<: &m {<<: *m}\n"))) == ids(load(files(m=needed)))
    assert (
        refused(files(m=needed + "<<: 3\n"))
        == "m.yaml:6: <<: a mapping belongs here, such as *name, or a list of them"
    )
    assert "m.yaml:6: unknown key 'sed' in a study" in refused(files(m=needed + "<<: {sed: 3}\n"))
    assert "unknown key 'x-a' in a block" in refused(files(m=needed + "blocks: [{x-a: 3}]\n"))


def test_a_mapping_that_merges_itself_over_and_over_takes_no_time(files):
    levels = "".join(f"x-{n}: &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * 9)}]}}\n" for n in range(1, 30))
    needed = "dataset: digits\nmodel: conv-5\nsparsity: 0.9\ncriterion: snip\n"
    path = files(m=f"x-0: &a0 {{epochs: 2}}\n{levels}{needed}<<: *a29\n")
    began = time.process_time()
    assert values(load(path), "epochs") == {2}
    assert time.process_time() - began < 5


def test_a_study_from_standard_input_needs_a_name(files, monkeypatch, tmp_path):
    files(base=BASE)
    monkeypatch.chdir(tmp_path)

    def read(text):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text.encode())))
        return load("-")

    study = read("name: typed\nextends: base.yaml\nseed: 3\n")
    assert study.name == "typed" and values(study, "seed") == {3}
    with pytest.raises(BadInput, match="standard input:1: name is missing"):
        read("extends: base.yaml\n")
    with pytest.raises(BadInput, match="standard input:2: seed x: text"):
        read("name: typed\nseed: x\nextends: base.yaml\n")


def test_a_study_extends_one_that_comes_along(tmp_path):
    (tmp_path / "mine.yaml").write_text("extends: quickstart\nseed: 7\nepochs: 1\n")
    assert {trial.config.seed for trial in load(tmp_path / "mine.yaml").trials()} == {7}
