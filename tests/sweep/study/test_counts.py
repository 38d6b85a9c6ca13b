"""Fields that say how many weights each layer keeps, and which weights a sparsity counts."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

import sweep
from sweep.config import Config
from sweep.errors import BadInput
from sweep.names import density_pairs, layer_densities
from sweep.study.identity import Trial
from sweep.study.study import load
from tests.sweep.study.test_study import trials

STUDY = "name: s\ndataset: digits\nmodel: conv-5\nepochs: 1\ncriterion: magnitude\nsparsity: 0.5\n"


def of(study_file, lines, settings=(), field="densities"):
    path = study_file(STUDY + lines)
    return [getattr(trial.config, field) for trial in load(path, settings=settings).trials()]


@pytest.mark.parametrize(
    "lines",
    [
        "densities: 0.*=1 *=0.1\n",
        "densities: ' 0.*=1.0   *=.10'\n",
        "densities: {0.*: 1, '*': 0.1}\n",
        "densities:\n  0.*: 1.0\n  '*': 0.10\n",
        "densities.0.*: 1\ndensities.*: 0.1\n",
        "blocks: [{densities: {0.*: 1, '*': 0.1}}]\n",
    ],
)
def test_each_way_to_write_densities_is_the_same_trial(lines, study_file):
    [trial] = trials(STUDY + lines, study_file)
    assert trial.config.densities == "0.*=1 *=0.1"
    assert trial.id == Trial.of(Config(**{**PLAIN, "densities": "0.*=1 *=0.1"})).id


PLAIN = {"dataset": "digits", "model": "conv-5", "epochs": 1, "criterion": "magnitude", "sparsity": 0.5}


def test_densities_are_an_axis_whole_and_by_pattern(study_file):
    assert of(study_file, "densities: [{'*': 1}, 'a=0.5 *=1', null]\n") == ["*=1", "a=0.5 *=1", None]
    assert of(study_file, "densities.0.*: [0.1, 0.2]\ndensities.*: 1\n") == ["0.*=0.1 *=1", "0.*=0.2 *=1"]
    assert of(study_file, "", ["densities={a: 0.5, '*': 1}"]) == ["a=0.5 *=1"]
    assert of(study_file, "densities.a: 0.1\n", ["densities.a=[0.3, 0.4]"]) == ["a=0.3", "a=0.4"]
    given = sweep.Study({**PLAIN, "densities": [{"a": 0.5, "*": 1}], "name": "s"})
    assert [trial.config.densities for trial in given.trials()] == ["a=0.5 *=1"]


@given(
    st.dictionaries(st.text("abc*.[]?=", min_size=1), st.floats(0, 1), min_size=1).filter(
        lambda pairs: any(pairs.values())
    )
)
def test_densities_come_back_from_their_text(pairs):
    text = layer_densities(" ".join(f"{pattern}={density!r}" for pattern, density in pairs.items()))
    assert density_pairs(text) == pairs and layer_densities(text) == text


def test_a_default_of_a_later_field_changes_no_id():
    written = Trial.of(Config(**PLAIN)).canonical
    assert "densities" not in written and "target" not in written


@pytest.mark.parametrize(
    ("lines", "why"),
    [
        ("densities: 0.5\n", "densities 0.5: 0.5: it takes patterns of layers with densities from 0 to 1"),
        ("densities: a=2\n", "a=2: it takes patterns"),
        ("densities: a=0.5 a=1\n", "a is given twice"),
        ("densities: a=0\n", "at least one density above 0"),
        ("densities: ''\n", "at least one density above 0"),
        ("densities: {a: {b: 1}}\n", "densities: a value or a list of values, nothing nested"),
        ("densities: a=1\ndensities.b: 1\n", "densities are given whole and by pattern: give one"),
        ("densities.a: 1.5\n", "less than or equal to 1"),
        ("densities.a: 1\nscope: erk\n", "densities with scope erk: they take its place: leave one out"),
        ("layers: {a: 1}\n", "layers: a value or a list of values, nothing nested"),
        ("scope: 2:4\nblocks: [{sparsity: 0.9}]\n", "sparsity 0.9: masks of scope 2:4 have 0.5"),
        ("scope: 4:8\nmin_per_layer: 1\n", "min_per_layer does not go with scope 4:8"),
        ("scope: 2:4\nstructure: filter\n", "scope 2:4 with structure filter: take global or uniform"),
        ("scope: 3:4\n", "scope 3:4: no such scope; did you mean 2:4"),
        ("target: all\n", "target all: input should be 'kept' or 'effective'"),
        ("target: effective\nstructure: filter\n", "target effective counts single weights: leave out structure"),
        ("target: effective\nscope: 2:4\n", "target effective: scope 2:4 says how many are kept"),
        ("target: effective\nablation: shuffle\n", "ablation shuffle with target effective"),
        ("target: effective\nblocks: [{criterion: rigl}]\n", "target effective: rigl counts kept weights"),
        ("scope: block:4x4\nblocks: [{criterion: set}]\n", "scope block:4x4: set grows weights outside"),
    ],
)  # fmt: skip
def test_bad_input_is_one_line_that_names_the_place(lines, why, study_file):
    text = STUDY.replace("criterion: magnitude\n", "") if "criterion" in lines else STUDY
    text = text.replace("sparsity: 0.5\n", "") if "{sparsity" in lines else text
    with pytest.raises(BadInput) as error:
        load(study_file(text + lines))
    assert why in str(error.value) and "\n" not in str(error.value)
    assert str(error.value).startswith(str(study_file(text + lines)))


def test_a_scope_that_looks_like_a_number_to_base_60_is_read_as_written(study_file):
    scopes = ["2:4", "4:8", "block:4x4"]
    assert of(study_file, "scope: 2:4\n", field="scope") == ["2:4"]
    assert of(study_file, "scope: [2:4, 4:8, block:4x4]\n", field="scope") == scopes
    assert of(study_file, "scope:\n- 2:4\n- '4:8'\n- block:4x4\n", field="scope") == scopes
    assert of(study_file, "blocks: [{scope: 2:4}, {scope: [4:8]}]\n", field="scope") == ["2:4", "4:8"]
    assert of(study_file, "", ["scope=2:4"], field="scope") == ["2:4"]
    assert of(study_file, "", ["scope=[2:4, 4:8]"], field="scope") == ["2:4", "4:8"]
    assert of(study_file, "scope: erk\n", ["scope+=2:4"], field="scope") == ["erk", "2:4"]
    given = sweep.Study(**PLAIN, scope=["2:4", "erk"])
    assert [trial.config.scope for trial in given.trials()] == ["2:4", "erk"]


def test_the_flat_text_of_a_variation_reads_as_the_same_study(study_file, tmp_path):
    varied = load(study_file(STUDY + "densities: {a: 0.5, '*': 1}\n"), settings=["seed=[0, 1]"])
    again = load(study_file(varied.text))
    assert [trial.id for trial in again.trials()] == [trial.id for trial in varied.trials()]
    patterned = load(study_file(STUDY), settings=["scope=2:4"])
    assert [trial.id for trial in load(study_file(patterned.text)).trials()] == [
        trial.id for trial in patterned.trials()
    ]


SEARCH = """search:
  sampler: nsga2
  objectives: [accuracy, cost]
  space:
    scope: [global]
    densities.0.*: {low: 0.1, high: 1, step: 0.1}
    densities.*: {low: 0.05, high: 1}
"""


@pytest.mark.parametrize(
    ("lines", "space"),
    [("densities: {a: 1}\n", SEARCH), ("", SEARCH.replace("scope: [global]", "densities: [a=1]"))],
)
def test_a_search_takes_densities_whole_or_by_pattern(lines, space, study_file):
    with pytest.raises(BadInput, match=r"densities\.0\.\*: the study has densities as a whole: give one"):
        load(study_file(STUDY + lines + space))


def test_a_search_chooses_the_density_of_each_pattern(study_file):
    search = load(study_file(STUDY + SEARCH)).search
    config = search.make({"scope": "global", "densities.0.*": 0.3, "densities.*": 0.777})
    assert config.densities == "0.*=0.3 *=0.777"
    assert search.chosen(config) == {"scope": "global", "densities.0.*": 0.3, "densities.*": 0.777}
    assert search.chosen(Trial.parse(Trial.of(config).canonical).config) == search.chosen(config)
    assert search.chosen(Config(**PLAIN)) is None
    assert search.chosen(Config(**PLAIN, densities="0.*=0.35 *=0.5")) is None
