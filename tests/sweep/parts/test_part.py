"""A part is read, named and registered without being run; its code is what was read."""

import json
import pickle
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sweep import parts
from sweep.errors import BadInput
from sweep.parts import Missing, record, recorded
from sweep.parts.kinds import BY_FIELD, KINDS

CRITERION = "def mine(probe, *, power: float = 0.5):\n    return power\n"
# It would be noticed if it ran.
LOUD = "raise SystemExit('it ran')\n" + CRITERION


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "scores.py").write_text(CRITERION)
    return tmp_path


def test_nothing_runs_before_it_is_loaded(tmp_path):
    (tmp_path / "scores.py").write_text(LOUD)
    part = parts.declare("criterion", "scores.py:mine", tmp_path)
    assert part.parameters[0].name == "power"
    with pytest.raises(SystemExit, match="it ran"):
        part.load()


def test_its_name_is_the_reference_and_the_code(folder):
    part = parts.declare("criterion", "scores.py:mine", folder)
    assert part.name == f"scores.py:mine@{part.source.fingerprint}"
    assert parts.find(part.name) is part
    assert parts.is_name(part.name)


def test_the_folder_of_the_file_is_no_part_of_its_name(folder):
    deeper = folder / "deep"
    deeper.mkdir()
    (deeper / "scores.py").write_text(CRITERION)
    one = parts.declare("criterion", "scores.py:mine", folder)
    assert parts.declare("criterion", "deep/scores.py:mine", folder).name == one.name


def test_two_versions_of_a_file_are_two_parts_of_one_process(folder):
    earlier = parts.declare("criterion", "scores.py:mine", folder)
    (folder / "scores.py").write_text(CRITERION.replace("return power", "return 2 * power"))
    later = parts.declare("criterion", "scores.py:mine", folder)
    assert earlier.name != later.name
    assert (later(None, power=3), earlier(None, power=3)) == (6, 3)


def test_what_lies_on_disk_later_does_not_run(folder):
    part = pickle.loads(pickle.dumps(parts.declare("criterion", "scores.py:mine", folder)))
    (folder / "scores.py").write_text(LOUD)
    assert part(None, power=1) == 1


def test_modules_beside_it_are_its_own(tmp_path, monkeypatch):
    """Not what happens to have the same name on the path."""
    for name, value in (("here", 1), ("elsewhere", 2)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "helpers.py").write_text(f"VALUE = {value}\n")
    (tmp_path / "here" / "tools").mkdir()
    (tmp_path / "here" / "tools" / "deep.py").write_text("import helpers as h\nVALUE = 10 * h.VALUE\n")
    (tmp_path / "here" / "scores.py").write_text(
        "import helpers\nimport tools.deep\nfrom helpers import VALUE as again\n\n\n"
        "def mine(probe):\n    import tools.deep as deep\n"
        "    return helpers.VALUE, tools.deep.VALUE, again, deep.VALUE\n"
    )
    monkeypatch.syspath_prepend(tmp_path / "elsewhere")
    assert parts.declare("criterion", "scores.py:mine", tmp_path / "here")(None) == (1, 10, 1, 10)
    assert "helpers" not in sys.modules


def test_a_version_takes_the_place_of_the_fingerprint(folder):
    text = "import pruners\n\n\n@pruners.criterion(version=3)\n" + CRITERION
    (folder / "scores.py").write_text(text)
    assert parts.declare("criterion", "scores.py:mine", folder).name == "scores.py:mine@v3"
    (folder / "scores.py").write_text(text.replace("return power", "return 2 * power"))
    assert parts.declare("criterion", "scores.py:mine", folder).name == "scores.py:mine@v3"


def test_a_module_on_the_path_is_read_from_there(folder, monkeypatch):
    package = folder / "mypackage"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "nets.py").write_text("def small(shape, classes):\n    return shape, classes\n")
    (folder / "study").mkdir()
    monkeypatch.syspath_prepend(folder)
    part = parts.declare("model", "mypackage.nets:small", folder / "study")
    assert part.name == f"mypackage.nets:small@{part.source.fingerprint}"
    assert part.load()((1, 2), 3) == ((1, 2), 3)


@pytest.mark.slow
def test_an_installed_package_is_known_by_its_version(tmp_path):
    part = parts.declare("loss", "torch.nn.functional:poisson_nll_loss", tmp_path)
    from torch.nn.functional import poisson_nll_loss

    assert part.load() is poisson_nll_loss
    assert part.code == part.package[1]
    with pytest.raises(BadInput, match=r"is not 0\.0\.1 here"):
        type(part)(part.kind, part.label, "1", module=part.module, package=("torch", "0.0.1")).load()


def test_an_installed_package_offers_parts_under_bare_names(folder, monkeypatch):
    (folder / "offering-1.0.dist-info").mkdir()
    (folder / "offering-1.0.dist-info" / "METADATA").write_text("Name: offering\nVersion: 1.0\n")
    (folder / "offering-1.0.dist-info" / "entry_points.txt").write_text(
        "[secateur.criteria]\nby-power = offering:mine\n"
    )
    (folder / "offering.py").write_text(CRITERION)
    monkeypatch.syspath_prepend(folder)
    assert parts.is_reference("criterion", "by-power")
    part = parts.declare("criterion", "by-power", folder)
    assert part.label == "by-power"
    assert part(None, power=2) == 2
    assert not parts.is_reference("model", "by-power")


@pytest.mark.parametrize(
    ("text", "reference", "why"),
    [
        (CRITERION, "scores.py:min", "there is no min; did you mean mine?"),
        (CRITERION, "nothing.py:mine", "there is no file"),
        (CRITERION, "no.such.module:mine", "there is no module no.such.module"),
        (CRITERION, "scores.py:", "write FILE.py:NAME"),
        (CRITERION, "scores.py", "write FILE.py:NAME"),
        (
            "def mine(probe, power): ...",
            "scores.py:mine",
            r"scores.py:1: mine: a criterion is \(probe, \*, …\)",
        ),
        ("def mine(probe, *, power: list): ...", "scores.py:mine", "parameter power has no default"),
        ("@model()\ndef mine(shape, classes): ...", "scores.py:mine", "is a model: it belongs in model"),
        ("@criterion(version='a b')\n" + CRITERION, "scores.py:mine", "version 'a b'"),
        ("@criterion(version=V)\n" + CRITERION, "scores.py:mine", "version is read without running the file"),
        ("def mine(", "scores.py:mine", "scores.py:1: not Python"),
    ],
)
def test_what_is_no_part_is_one_line(tmp_path, text, reference, why):
    (tmp_path / "scores.py").write_text(text)
    with pytest.raises(BadInput, match=why) as error:
        parts.declare("criterion", reference, tmp_path)
    assert len(str(error.value).splitlines()) == 1


def test_an_unknown_part_says_what_to_do():
    with pytest.raises(BadInput, match="its code is not here"):
        parts.need("scores.py:mine@0123456789ab")


def test_a_recorded_part_tells_all_but_the_code(folder):
    (folder / "scores.py").write_text(
        "@rule(reads=['scope', 'layers'])\n"
        "def mine(run, *, power: float = 0.5, kind: Literal['a', 'b'] | None = None, every: int, x=y): ...\n"
    )
    part = parts.declare("criterion", "scores.py:mine", folder)
    again = recorded(json.loads(json.dumps(record(part))))
    assert (again.name, again.parameters, again.options, again.kind) == (
        part.name,
        part.parameters,
        part.options,
        "rule",
    )
    assert not again.here
    with pytest.raises(BadInput, match="its code is not here"):
        again.load()


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
ENTRY = {
    "kind": "criterion",
    "label": "scores.py:mine",
    "code": "v1",
    "inputs": ["probe"],
    "parameters": [{"name": "power", "type": "float", "required": False, "default": 0.5}],
    "options": {},
}


@pytest.mark.slow
@given(st.sampled_from([*ENTRY, "all"]), json_values)
def test_a_foreign_entry_is_a_part_or_none(field, value):
    part = recorded(value if field == "all" else ENTRY | {field: value})
    assert part is None or (parts.is_name(part.name) and part.kind in KINDS)


def test_every_kind_has_a_decorator_that_leaves_the_object_as_it_is():
    import pruners

    for kind in KINDS.values():
        decorator = pruners.criterion if kind.name == "criterion" else getattr(parts, kind.name)
        function = (lambda probe: probe) if kind.name == "criterion" else (lambda *inputs: inputs)
        assert decorator(version=1)(function) is function
    assert {field for kinds in BY_FIELD.values() for field in [kinds[0].field]} == set(BY_FIELD)


def test_a_missing_file_is_told_from_a_bad_one(tmp_path):
    with pytest.raises(Missing):
        parts.declare("criterion", "scores.py:mine", tmp_path)
