"""The fingerprint changes with what decides a part's numbers, and with nothing else."""

import textwrap

import pytest

from sweep.errors import BadInput
from sweep.parts.source import collect

SCORES = """\
import torch
import helpers
from shapes.flat import flatten

POWER = 0.5
OTHER = 3


def mine(probe, *, power: float = POWER):
    return {name: helpers.size(flatten(weight)) ** power for name, weight in probe.weights.items()}


def another(probe):
    return OTHER
"""
HELPERS = """\
LIMIT = 7


def size(weight):
    return _bounded(weight.abs())


def _bounded(value):
    return value.clamp_max(10)


def unused(weight):
    return LIMIT
"""
FLAT = "def flatten(weight):\n    return weight.flatten()\n\n\ndef fold(weight):\n    return weight\n"


@pytest.fixture
def files(tmp_path):
    (tmp_path / "shapes").mkdir()
    for name, text in (("scores.py", SCORES), ("helpers.py", HELPERS), ("shapes/flat.py", FLAT)):
        (tmp_path / name).write_text(text)
    (tmp_path / "stranger.py").write_text("x = 1\n")
    return tmp_path


def fingerprint(folder, name="mine"):
    return collect(folder, "scores", name).fingerprint


def edited(folder, file, old, new):
    path = folder / file
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("scores.py", "import torch\n", "# a comment\nimport torch\n"),
        ("scores.py", "def mine", "\n\n\ndef mine"),
        ("scores.py", "{name: helpers", "{\n        name:  helpers"),
        ("scores.py", "POWER):\n", 'POWER):\n    """What it is."""\n'),
        ("scores.py", "OTHER = 3", "OTHER = 4"),
        ("scores.py", "return OTHER", "return OTHER + 1"),
        ("helpers.py", "return LIMIT", "return 2 * LIMIT"),
        ("helpers.py", "LIMIT = 7", "LIMIT = 8"),
        ("shapes/flat.py", "return weight\n", "return -weight\n"),
        ("stranger.py", "x = 1", "x = 2"),
        ("scores.py", "\n", "\r\n"),
        ("scores.py", "return OTHER\n", "return OTHER\n\n\nif __name__ == '__main__':\n    print(mine)\n"),
    ],
)
def test_what_decides_no_number_changes_nothing(files, file, old, new):
    before = fingerprint(files)
    edited(files, file, old, new)
    assert fingerprint(files) == before


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("scores.py", "** power", "** (2 * power)"),
        ("scores.py", "POWER = 0.5", "POWER = 0.25"),
        ("scores.py", "import torch\n", "import torch\n\ntorch.set_default_dtype(torch.float64)\n"),
        ("helpers.py", "weight.abs()", "weight.square()"),
        ("helpers.py", "clamp_max(10)", "clamp_max(11)"),
        ("shapes/flat.py", "weight.flatten()", "weight.view(-1)"),
    ],
)
def test_what_decides_a_number_changes_it(files, file, old, new):
    before = fingerprint(files)
    edited(files, file, old, new)
    assert fingerprint(files) != before


def test_an_edit_of_one_criterion_leaves_the_other_of_the_file(files):
    mine, another = fingerprint(files), fingerprint(files, "another")
    edited(files, "scores.py", "** power", "* power")
    assert (fingerprint(files) != mine, fingerprint(files, "another")) == (True, another)


def test_a_decorator_that_may_enter_a_table_counts(files):
    before = fingerprint(files)
    edited(files, "scores.py", "def another", "@helpers.entered('another')\ndef another")
    assert fingerprint(files) != before


def test_a_class_that_is_named_as_text_counts(files):
    edited(files, "helpers.py", "return _bounded(weight.abs())", "return globals()['_bounded'](weight)")
    before = fingerprint(files)
    edited(files, "helpers.py", "clamp_max(10)", "clamp_max(11)")
    assert fingerprint(files) != before


def test_files_that_the_part_imports_come_along(files):
    assert [module.name for module in collect(files, "scores", "mine").modules] == [
        "helpers",
        "scores",
        "shapes.flat",
    ]


def test_packages_import_each_other_relatively(tmp_path):
    package = tmp_path / "mine"
    package.mkdir()
    (package / "__init__.py").write_text("from .scores import by_size\n")
    (package / "scores.py").write_text(
        "from . import tools\n\n\ndef by_size(probe):\n    return tools.half(probe)\n"
    )
    (package / "tools.py").write_text("def half(x):\n    return x / 2\n")
    before = collect(tmp_path, "mine.scores", "by_size")
    assert [module.name for module in before.modules] == ["mine", "mine.scores", "mine.tools"]
    (package / "tools.py").write_text("def half(x):\n    return x / 3\n")
    assert collect(tmp_path, "mine.scores", "by_size").fingerprint != before.fingerprint


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (b"def mine(:\n", "scores.py:1: not Python"),
        (b"\xff\xfe", "not a text file"),
        (b"x = 1\x00", "not Python"),
        (b"x = " + b"(" * 9000, "not Python"),
    ],
)
def test_a_file_that_is_not_python_is_one_line(tmp_path, text, why):
    (tmp_path / "scores.py").write_bytes(text)
    with pytest.raises(BadInput, match=why) as error:
        collect(tmp_path, "scores", "mine")
    assert len(str(error.value).splitlines()) == 1


def test_files_that_import_each_other_end(tmp_path):
    (tmp_path / "one.py").write_text(textwrap.dedent("import two\ndef f(probe):\n    return two.g(probe)\n"))
    (tmp_path / "two.py").write_text("import one\ndef g(probe):\n    return probe\n")
    assert len(collect(tmp_path, "one", "f").modules) == 2
