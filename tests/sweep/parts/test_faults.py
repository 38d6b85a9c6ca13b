"""One line about an error of a part says where it is, and what is expected."""

import pytest

from sweep import parts
from sweep.errors import BadInput

OPTIMIZERS = """\
def nothing(parameters, settings): ...


def raises(parameters, settings):
    return parameters.missing
"""


@pytest.fixture
def part(tmp_path):
    (tmp_path / "mine.py").write_text(OPTIMIZERS)
    return lambda name: parts.declare("optimizer", f"mine.py:{name}", tmp_path)


def caught(action):
    with pytest.raises(Exception) as error:
        action()
    return error.value


def test_an_error_in_the_part_itself_is_told_with_its_own_line(part):
    line = parts.line(caught(lambda: part("raises")((), None)), part("raises"))
    assert line.endswith("mine.py:5: raises: AttributeError: 'tuple' object has no attribute 'missing'")


def test_what_fails_outside_of_the_part_is_told_with_the_form_that_is_expected(part):
    line = parts.line(caught(lambda: part("nothing").load()((), None).step()), part("nothing"))
    assert "mine.py:1: nothing: AttributeError: 'NoneType'" in line
    assert line.endswith("; expected (parameters, settings, *, …) -> torch.optim.Optimizer")


def test_our_own_message_about_a_part_is_told_as_it_is(part):
    given = part("nothing")
    line = parts.line(BadInput(f"{given.name}: gives 3: give 4"), given)
    assert line.endswith("mine.py:1: nothing: gives 3: give 4")
