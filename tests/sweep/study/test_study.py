import json
import re

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from sweep.config import FIELDS, SEEDS, Config
from sweep.errors import BadInput
from sweep.store.kept import Keep
from sweep.study import load
from sweep.study.identity import Trial
from tests.conftest import STUDY


def trials(text, study_file):
    return load(study_file(text)).trials()


def test_axes_multiply_and_blocks_have_axes_of_their_own(study_file):
    found = trials(STUDY, study_file)
    assert len(found) == 2 * 2 * (2 + 2 + 1)
    assert {(t.config.criterion, t.config.scope) for t in found} == {
        ("random", "global"), ("random", "erk"), ("magnitude", "global"), ("snip", "global"), ("force", "global"),
    }  # fmt: skip
    assert {t.config.iterations for t in found if t.config.criterion == "force"} == {3}
    assert {t.config.iterations for t in found if t.config.criterion != "force"} == {1}


def test_a_trial_has_the_same_id_everywhere():
    """Results on disk have these ids: if this id changes, PROTOCOL must change."""
    config = Config(dataset="digits", model="conv-5", criterion="snip", sparsity=0.9, epochs=4)
    assert Trial.of(config).id == "7f963c4e0da59cdb"
    assert json.loads(Trial.of(config).canonical)["protocol"] == 2


def test_another_spelling_of_the_same_trial_has_the_same_id(study_file):
    one = "dataset: digits\nmodel: conv-5\nepochs: 2\nsparsity: 0.9\ncriterion: snip\n"
    other = "criterion: snip\nsparsity: .90\nepochs: 2.0\nmodel: conv-5\ndataset: digits\nscope: global\nlr: 1e-1\n"
    assert [t.id for t in trials(one, study_file)] == [t.id for t in trials(other, study_file)]


def test_a_recipe_gives_its_fields_and_fields_of_the_study_replace_them(study_file):
    base = "dataset: mnist\nmodel: lenet-300-100\nsparsity: 0.9\ncriterion: snip\n"
    [named] = trials(base + "recipe: snip\n", study_file)
    written = "init: lecun\nsteps: 250000\nbatch_size: 100\nscore_batch_size: 100\nlr_schedule: step\n"
    drops = "lr_drops: 0.1 0.2 0.3 0.4 0.5 0.6 0.7 0.8 0.9\n"
    assert named.id == trials(base + written + drops, study_file)[0].id
    [shorter] = trials(base + "recipe: snip\nepochs: 10\nlr: 0.05\n", study_file)
    assert (shorter.config.epochs, shorter.config.steps, shorter.config.lr) == (10, None, 0.05)
    both = trials(base + "recipe: [snip, quick]\n", study_file)
    assert [trial.config.lr_schedule for trial in both] == ["step", "one-cycle"]


def test_a_span_is_every_value_from_the_first_to_the_last(study_file):
    base = "dataset: digits\nmodel: conv-5\nepochs: 2\nsparsity: 0\n"
    assert [t.config.seed for t in trials(base + "seed: [7, 1..3]\n", study_file)] == [7, 1, 2, 3]


def test_a_stream_has_its_own_seed_or_follows_the_seed(study_file):
    base = "dataset: digits\nmodel: conv-5\nepochs: 2\nsparsity: 0.9\ncriterion: snip\nseed: [0, 1]\n"
    plain = trials(base, study_file)
    found = trials(base + "init_seed: [null, 3]\nsplit_seed: [0, seed]\n", study_file)
    assert {t.config.roots for t in found} == {
        (0, 0, 0, 0), (1, 1, 1, 0), (1, 1, 1, 1), (3, 0, 0, 0), (3, 1, 1, 0), (3, 1, 1, 1),
    }  # fmt: skip
    assert {t.id for t in plain} < {t.id for t in found} and len(found) == 8
    assert len({t.arm for t in found}) == 4, "an arm says what its seeds move"


def test_a_search_chooses_no_seeds(study_file):
    base = "dataset: digits\nmodel: conv-5\nepochs: 2\nsparsity: 0.9\ncriterion: snip\nsearch:\n  space:\n"
    for name in SEEDS:
        with pytest.raises(BadInput, match=f"unknown key '{name}' in a space"):
            load(study_file(base + f"    {name}: [0, 1]\n"))


def test_levels_of_iterative_magnitude_pruning_remove_a_fifth_each(study_file):
    base = "dataset: digits\nmodel: conv-5\nepochs: 2\ncriterion: imp\n"
    found = trials(base + "sparsity: [0.2, 0.36, 0.488, 0.95]\n", study_file)
    assert [t.config.iterations for t in found] == [1, 2, 3, 13]
    assert trials(base + "sparsity: 0.95\niterations: 2\n", study_file)[0].config.iterations == 2


def test_an_irrelevant_field_makes_no_new_trial(study_file):
    base = "dataset: digits\nmodel: conv-5\nepochs: 2\n"
    dense = base + "sparsity: 0\ncriterion: [random, snip, force]\nprune_epoch: [0, 1]\n"
    assert [t.config.criterion for t in trials(dense, study_file)] == ["dense"]
    assert len(trials(base + "sparsity: 0\n", study_file)) == 1
    no_data = base + "sparsity: 0.9\ncriterion: magnitude\nscore_batches: [1, 5]\n"
    assert len(trials(no_data, study_file)) == 1
    data = base + "sparsity: 0.9\ncriterion: snip\nscore_batches: [1, 5]\n"
    assert len(trials(data, study_file)) == 2


@pytest.mark.slow
@pytest.mark.parametrize(
    ("old", "new", "line", "message"),
    [
        ("epochs: 2", "epoch: 2", 4, "unknown key 'epoch' in a study; did you mean epochs?"),
        ("epochs: 2", "epochs: two", 4, "epochs two: text, where a whole number belongs"),
        ("epochs: 2", "epochs: 0", 4, "epochs 0: input should be greater than or equal to 1"),
        ("epochs: 2", "epochs: yes", 4, "epochs yes: no place for true or false"),
        ("epochs: 2", "epochs: '2'", 4, "epochs 2: text, where a whole number belongs"),
        ("epochs: 2", "epochs: 2\nnesterov: 1", 5, "nesterov 1: true or false belongs here"),
        ("epochs: 2", "epochs: 2\nnesterov: true\nmomentum: 0", 5, "nesterov needs a momentum above 0"),
        ("lr: 0.2", "structure: filter\nablation: shuffle", 6, "ablation shuffle permutes single weights"),
        ("conv-5", "lstm-s\nprecision: bf16", 4, "would be computed in float16 on a GPU: leave it out"),
        ("lr: 0.2", "lr: " + "[" * 3000, 1, "nested too deeply"),
        ("epochs: 2", "epochs: 2\nepochs: 3", 5, "epochs is given twice"),
        ("0.99]", "1.2]", 6, "sparsity 1.2: input should be less than 1"),
        ("0.99]", "[0.99]]", 6, "nothing nested"),
        ("[0.9, 0.99]", "[]", 6, "an empty list asks for no trials"),
        ("seed: [0, 1]", "seed: 4..1", 8, "seed 4..1: first..last, rising"),
        ("lr: 0.2", "recipe: snap", 5, "recipe snap: no such recipe; did you mean snip?"),
        ("epochs: 2", "epochs: 2\nsteps: 30", 5, "give epochs or steps, not both"),
        ("epochs: 2\n", "", 9, "epochs or steps is missing: give one"),
        ("lr: 0.2", "lr_drops: 0.5 0.4", 5, "it takes rising shares of the training"),
        ("lr: 0.2", "rewind_epoch: 2", 5, "rewind_epoch lies after the pruning"),
        ("lr: 0.2", "retrain_lr: 0.1", 5, "retrain_lr needs retrain_epochs"),
        ("lr: 0.2", "ablation: inverted", 5, "ablation inverted: input should be 'none', 'shuffle'"),
        ("magnitude, snip]", "magnitude, rigl]\n    ablation: reinit", 13, "ablation reinit does not apply to rigl"),
        ("[magnitude, snip]", "set", 7, "set is sparse from the start: leave out prune_epoch"),
        ("[magnitude, snip]", "imp\n    rewind_epoch: 3", 13, "rewind_epoch lies after the pruning"),
        ("lr: 0.2", "structure: filter", 11, "scope erk with structure filter: take global or uniform"),
        ("lr: 0.2", "min_per_layer: 2\nscope: rowwise", 5, "min_per_layer does not go with scope rowwise"),
        ("magnitude, snip]", "magnitude, oracle]", 12, "oracle removes filters: give it structure: filter"),
        ("prune_epoch: 1", "prune_epoch: 3", 7, "prune_epoch 3 is beyond the 2 epochs of training"),
        ("snip]", "snipp]", 12, "criterion snipp: no such criterion; did you mean snip?"),
        ("magnitude, snip]", "snip, force]\n    iterations: 3", 13, "iterations 3: snip is one-shot"),
        ("erk]", "unifrom]", 11, "scope unifrom: no such scope; did you mean uniform?"),
        ("conv-5", "lenet-5-caffe", 3, "lenet-5-caffe needs images of at least 16×16 pixels and these are 8×8"),
        ("digits", "digit", 2, "did you mean digits?"),
        ("digits", "'image-folder:'", 2, "no such dataset"),
        ("dataset: digits\n", "", 9, "dataset is missing"),
        ("name: small", "name: ../small", 1, "give it a name of up to 100 letters"),
        ("blocks:", "blocks: 3\nseed_: 1\nx:", 10, "unknown key"),
        ("seed: [0, 1]", "seed: 9223372036854775808", 8, "input should be less than"),
        ("lr: 0.2", "split_seed: sede", 5, "split_seed sede: input should be a valid integer"),
        ("lr: 0.2", "split_seed: sede", 5, "or Input should be 'seed'"),
        ("lr: 0.2", "init_seed: seed", 5, "init_seed seed: text, where a whole number belongs"),
        ("lr: 0.2", "stratified: 1", 5, "stratified 1: true or false belongs here"),
        ("lr: 0.2", "price_per_gpu_hour: much", 5, "unable to parse string as a number: a price, such as 2.5"),
        ("lr: 0.2", "price_per_gpu_hour: [1]", 5, "a price, such as 2.5"),
        ("lr: 0.2", "lr: .inf", 5, "lr .inf: input should be a finite number"),
        ("lr: 0.2", "lr: 2001-13-45", 5, "cannot be read as a value"),
        ("lr: 0.2", "lr: [", 7, "not YAML"),
        (STUDY, "", 1, "the file is empty"),
        (STUDY, "- 1", 1, "a study is a mapping"),
    ],
)  # fmt: skip
def test_a_mistake_is_one_line_with_file_and_line_number(old, new, line, message, study_file):
    path = study_file(STUDY.replace(old, new, 1))
    with pytest.raises(BadInput) as error:
        load(path)
    text = str(error.value)
    assert message in text and "\n" not in text
    assert text.startswith(f"{path}:{line}: ")


def test_a_file_whose_name_cannot_be_a_folder_needs_the_key_name(study_file):
    with pytest.raises(BadInput, match="name 'a b': give it a name"):
        load(study_file(STUDY.replace("name: small\n", ""), "a b.yaml"))
    assert load(study_file(STUDY.replace("name: small\n", ""), "ab.yaml")).name == "ab"


def test_a_missing_file_is_one_line(tmp_path):
    with pytest.raises(BadInput, match=re.escape("no.yaml: No such file")):
        load(tmp_path / "no.yaml")


scalars = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8), st.dates(), st.binary(max_size=4),
    st.sampled_from(["snip", "erk", 0.9, 1, "digits"]),
)  # fmt: skip
values = st.recursive(
    scalars, lambda v: st.lists(v, max_size=3) | st.dictionaries(st.text(max_size=5), v, max_size=3)
)


@pytest.mark.slow
@settings(max_examples=200, deadline=None)
@given(st.sampled_from([*FIELDS, "name", "blocks", "sparsities"]), values)
def test_whatever_a_field_holds_a_study_loads_or_is_refused_in_one_line(tmp_path_factory, field, value):
    mutated = yaml.safe_load(STUDY) | {field: value}
    path = tmp_path_factory.mktemp("studies") / "mutated.yaml"
    path.write_text(yaml.safe_dump(mutated))
    try:
        load(path).trials()
    except BadInput as error:
        assert re.match(rf"{re.escape(str(path))}:\d+: .", str(error))


@pytest.mark.slow
@settings(max_examples=100, deadline=None)
@given(st.text(max_size=40), st.integers(0, len(STUDY)), st.integers(0, 20))
def test_whatever_is_typed_into_a_study_it_loads_or_is_refused(tmp_path_factory, typed, at, removed):
    path = tmp_path_factory.mktemp("studies") / "typed.yaml"
    path.write_text(STUDY[:at] + typed + STUDY[at + removed :], encoding="utf-8", errors="replace")
    try:
        load(path)
    except BadInput as error:
        assert str(path) in str(error)


def test_a_criterion_with_static_scores_has_one_iteration(study_file):
    base = "dataset: digits\nmodel: conv-5\nepochs: 2\nsparsity: 0.9\niterations: [1, 10]\n"
    found = trials(base + "criterion: [random, magnitude, force]\n", study_file)
    assert [(t.config.criterion, t.config.iterations) for t in found] == [
        ("random", 1),
        ("magnitude", 1),
        ("force", 1),
        ("force", 10),
    ]


def test_a_study_may_ask_for_metrics_which_are_no_axis_and_change_no_trial(study_file):
    base = "dataset: digits\nmodel: conv-5\nepochs: 2\nsparsity: 0\n"
    plain, asked = load(study_file(base)), load(study_file(base + "metrics: [top5, ece, top5]\n"))
    assert plain.metrics == () and asked.metrics == ("top5", "ece")
    assert [t.id for t in plain.trials()] == [t.id for t in asked.trials()]
    with pytest.raises(BadInput, match="5: metrics topp5: no such metric; did you mean top5"):
        load(study_file(base + "metrics: topp5\n"))


def test_a_study_may_keep_networks_which_changes_no_trial(study_file):
    base = "dataset: digits\nmodel: conv-5\nepochs: 2\nsparsity: 0\n"
    plain, asked = load(study_file(base)), load(study_file(base + "keep: masks\n"))
    assert plain.keep is None and asked.keep is Keep.MASKS and not asked.keep.weights
    assert [t.id for t in plain.trials()] == [t.id for t in asked.trials()]
    assert load(study_file(base + "keep: masks\n"), settings=["keep=weights"]).keep is Keep.WEIGHTS
    for value in ("mask", "true", "[masks, weights]", "1"):
        with pytest.raises(BadInput, match="5: keep"):
            load(study_file(base + f"keep: {value}\n"))


def test_a_study_may_give_the_price_of_a_gpu_hour(study_file):
    base = "dataset: digits\nmodel: conv-5\nepochs: 2\nsparsity: 0\n"
    assert load(study_file(base)).price_per_gpu_hour is None
    assert load(study_file(base + "price_per_gpu_hour: 2.49\n")).price_per_gpu_hour == 2.49
