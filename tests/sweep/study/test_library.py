"""A study names parts of one's own and sets their parameters like other fields."""

import json

import pytest

from sweep import parts
from sweep.errors import BadInput
from sweep.study import load
from sweep.study.identity import Trial

SCORES = """\
def mine(probe, *, power: float = 0.5, kind: Literal["plain", "signed"] = "plain"): ...


def every(probe, *, count: int): ...


def plain(model, batches, loss): ...
"""
STUDY = "dataset: digits\nmodel: conv-5\nepochs: 2\nsparsity: 0.9\n"


@pytest.fixture
def study(tmp_path):
    (tmp_path / "scores.py").write_text(SCORES)
    (tmp_path / "nets.py").write_text(
        "def mixer(shape, classes, *, width: int = 16, act: str = 'relu'): ...\n"
    )

    def read(text):
        (tmp_path / "study.yaml").write_text(STUDY + text)
        return load(tmp_path / "study.yaml")

    return read


def parameters(study):
    return [trial.config.parameters for trial in study.trials()]


def test_parameters_of_an_own_part_are_all_in_the_config(study):
    read = study("criterion: scores.py:mine\n")
    assert parameters(read) == [(("criterion.kind", "plain"), ("criterion.power", 0.5))]
    [name] = read.parts
    [trial] = read.trials()
    fields = json.loads(trial.canonical)
    assert (fields["criterion"], fields["criterion.power"]) == (name, 0.5)
    assert Trial.parse(trial.canonical) == trial


def test_parameters_are_axes(study):
    read = study(
        "criterion: scores.py:mine\ncriterion.power: [0.5, 1, 2.0]\ncriterion.kind: [plain, signed]\n"
    )
    assert {dict(each)["criterion.power"] for each in parameters(read)} == {0.5, 1, 2}
    assert len({trial.id for trial in read.trials()}) == 6


def test_whole_real_numbers_are_one_trial_however_they_are_written(study):
    [trial] = study("criterion: scores.py:mine\ncriterion.power: [1, 1.0]\n").trials()
    assert Trial.parse(trial.canonical).id == trial.id


def test_a_parameter_is_moot_for_parts_that_do_not_take_it(study):
    read = study("criterion: [scores.py:mine, snip, grasp]\ncriterion.power: [0.5, 1]\n")
    assert len(read.trials()) == 4


def test_a_dense_trial_has_no_parameters_of_a_criterion(study, tmp_path):
    (tmp_path / "dense.yaml").write_text(
        STUDY.replace("0.9", "[0, 0.9]") + "criterion: scores.py:mine\ncriterion.power: [0.5, 1]\n"
    )
    trials = load(tmp_path / "dense.yaml").trials()
    assert [trial.config.parameters for trial in trials if not trial.config.sparsity] == [()]


def test_built_in_parts_have_parameters_too_which_change_no_id_at_their_default(study):
    plain, default, other = (
        study(f"criterion: grasp\n{line}").trials()[0]
        for line in ("", "criterion.temperature: 200\n", "criterion.temperature: 1\n")
    )
    assert plain == default
    assert other.config.parameters == (("criterion.temperature", 1),)


def test_two_values_that_python_takes_for_equal_have_two_ids(tmp_path):
    """True and 1 of two parts under one name."""
    (tmp_path / "scores.py").write_text("def one(probe, *, x: int): ...\n\ndef two(probe, *, x: bool): ...\n")
    texts = []
    for name, value in (("one", 1), ("two", "true")):
        (tmp_path / "study.yaml").write_text(STUDY + f"criterion: scores.py:{name}\ncriterion.x: {value}\n")
        texts.append(load(tmp_path / "study.yaml").trials()[0].canonical)
    assert [json.loads(text)["criterion.x"] for text in texts] == [1, True]
    assert '"criterion.x":true' in texts[1]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("criterion: scores.py:mine\ncriterion.powr: 1\n", "study.yaml:6: criterion.powr: .*did you mean criterion.power"),
        ("criterion: snip\ncriterion.power: 1\n", "study.yaml:6: criterion.power: snip takes no such parameter"),
        ("criterion: scores.py:mine\ncriterion.power: high\n", "study.yaml:6: criterion.power high"),
        ("criterion: scores.py:mine\ncriterion.kind: odd\n", "study.yaml:6: criterion.kind odd"),
        ("criterion: scores.py:mine\ncriterion.power: true\n", "study.yaml:6: criterion.power true: no place for true"),
        ("criterion: scores.py:every\n", "criterion.count is missing"),
        ("criterion: scores.py:ever\n", "study.yaml:5: criterion scores.py:ever: .*did you mean every"),
        ("criterion: other.py:mine\n", "study.yaml:5: .*there is no file"),
        ("criterion: snip\nseed.power: 1\n", "unknown key 'seed.power'"),
        ("criterion: [scores.py:mine, scores.py:every]\ncriterion.count: [1, x]\n", "study.yaml:6"),
        ("criterion: nets.py:mixer\n", r"nets.py:1: mixer: a criterion is .*this takes \(shape, classes\)"),
    ],
)  # fmt: skip
def test_a_mistake_is_one_line_with_its_place(study, text, why):
    with pytest.raises(BadInput, match=why) as error:
        study(text)
    assert len(str(error.value).splitlines()) == 1


def test_a_rule_says_only_fields_that_there_are(study, tmp_path):
    (tmp_path / "rules.py").write_text('@rule(reads=["mask_sed"])\ndef mine(run): ...\n')
    with pytest.raises(BadInput, match=r"rules.py:2: mine: reads mask_sed: .*did you mean mask_seed"):
        study("criterion: rules.py:mine\n")


def test_trials_of_other_networks_share_no_training(study):
    one, other = _config(study, 8), _config(study, 16)
    assert one.trunk != other.trunk
    assert one.scoring != other.scoring


def _config(study, width):
    text = STUDY.replace("conv-5", "nets.py:mixer") + f"criterion: snip\nmodel.width: {width}\n"
    path = study("criterion: snip\n").path.with_name("width.yaml")
    path.write_text(text)
    [trial] = load(path).trials()
    return trial.config


def test_a_criterions_parameter_leaves_dense_training_shared(study):
    one, other = study("criterion: scores.py:mine\ncriterion.power: [0.5, 1]\n").trials()
    assert one.config.trunk == other.config.trunk
    assert one.config.scoring != other.config.scoring


SEARCH = """\
search:
  trials: 4
  space:
    sparsity: [0.5, 0.9]
    criterion: [scores.py:mine, snip]
    criterion.power: {low: 0.5, high: 2, step: 0.5}
"""


def test_a_search_chooses_a_parameter_where_the_part_takes_it(tmp_path, study):
    study("criterion: snip\n")
    (tmp_path / "search.yaml").write_text("dataset: digits\nmodel: conv-5\nepochs: 2\n" + SEARCH)
    search = load(tmp_path / "search.yaml").search
    [mine] = (name for name in search.dimensions[1].values if parts.is_name(name))
    power = search.dimensions[2]
    assert [power.matters({"criterion": name, "sparsity": 0.5}) for name in (mine, "snip")] == [True, False]
    config = search.make({"sparsity": 0.5, "criterion": mine, "criterion.power": 1.5})
    assert dict(config.parameters)["criterion.power"] == 1.5
    assert search.chosen(config) == {"sparsity": 0.5, "criterion": mine, "criterion.power": 1.5}


def test_a_space_gives_the_part_before_its_parameter(tmp_path, study):
    study("criterion: snip\n")
    text = "dataset: digits\nmodel: conv-5\nepochs: 2\nsparsity: 0.5\nsearch:\n  space:\n    criterion.power: [1, 2]\n"
    (tmp_path / "search.yaml").write_text(text + "    criterion: [scores.py:mine]\n")
    with pytest.raises(BadInput, match=r"search.yaml:7: criterion.power: .*put criterion before it"):
        load(tmp_path / "search.yaml")


def test_what_earlier_launches_recorded_stands_in_for_code_that_is_not_here(study, tmp_path):
    read = study("criterion: scores.py:mine\ncriterion.power: [0.5, 1]\n")
    known = [parts.recorded(json.loads(json.dumps(parts.record(part)))) for part in read.parts.values()]
    (tmp_path / "scores.py").unlink()
    with pytest.raises(BadInput, match="there is no file"):
        load(read.path)
    again = load(read.path, lambda name: known if name == "study" else [])
    assert [trial.id for trial in again.trials()] == [trial.id for trial in read.trials()]
    assert not any(part.here for part in again.parts.values())
