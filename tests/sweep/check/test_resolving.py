"""A reference names an object of a file or module; its kind is told or guessed; what is wrong is one line."""

import pytest

from sweep.check.resolving import resolve
from sweep.errors import BadInput

PARTS = """
import pruners
from torch import nn
from helper_of_parts import factor

@pruners.criterion(needs="nothing")
def size(network):
    return {}

def scores(probe, *, power=factor): return {}
def plain(model, batches, loss): return {}
def mixer(shape, classes, *, width=16): ...
class Net(nn.Module): ...
def tables(*, rows=3): ...
def stored(root): ...
def unclear(first): ...
number = 3
"""


@pytest.fixture
def file(tmp_path):
    (tmp_path / "helper_of_parts.py").write_text("factor = 2\n")
    path = tmp_path / "parts_to_resolve.py"
    path.write_text(PARTS)
    return path


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("size", "criterion"),
        ("scores", "criterion"),
        ("plain", "criterion"),
        ("mixer", "model"),
        ("Net", "model"),
        ("tables", "dataset"),
        ("stored", "dataset"),
    ],
)
def test_the_decorator_the_class_or_the_first_parameter_tells_the_kind(name, kind, file):
    found, part = resolve(f"{file}:{name}")
    assert (found, part.__name__) == (kind, name)


def test_a_kind_that_is_said_is_taken_and_one_that_cannot_be_guessed_is_asked_for(file):
    assert resolve(f"{file}:unclear", "model")[0] == "model"
    with pytest.raises(BadInput, match="what is it\\? give --kind criterion, model or dataset"):
        resolve(f"{file}:unclear")


def test_installed_modules_are_imported_by_name():
    assert resolve("pruners.saliency:snip")[0] == "criterion"


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ("scores", "scores: no reference: write FILE.py:NAME"),
        ("none.py:scores", "none.py: there is no such file"),
        ("{file}:scorse", "there is no function or class scorse; did you mean scores?"),
        ("{file}:number", "there is no function or class number"),
        ("no_such_module_here:x", "cannot be imported: no_such_module_here: ModuleNotFoundError"),
    ],
)
def test_a_wrong_reference_is_one_line(reference, message, file):
    with pytest.raises(BadInput) as raised:
        resolve(reference.format(file=file))
    assert message in str(raised.value) and "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("def f(:\n", "broken_part.py:1: not Python"),
        (
            "import os\n\nimport no_such_library\n",
            "broken_part.py:3 <module>: ModuleNotFoundError: No module",
        ),
        ("1 / 0", "broken_part.py:1 <module>: ZeroDivisionError"),
        ("raise SystemExit(3)", "broken_part.py:1 <module>: SystemExit: 3"),
    ],
)
def test_a_file_that_cannot_be_imported_is_one_line_with_its_line(text, message, tmp_path):
    path = tmp_path / "broken_part.py"
    path.write_text(text)
    with pytest.raises(BadInput) as raised:
        resolve(f"{path}:f")
    assert message in str(raised.value) and "\n" not in str(raised.value)
