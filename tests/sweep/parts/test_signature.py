"""Parameters are read from a definition that nothing runs."""

import ast
import typing

import pytest

from sweep.parts.signature import ANY, Parameter, of_definition, of_function


def signature(text, **constants):
    return of_definition(ast.parse(text).body[0], constants)


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("power: float = 0.5", Parameter("power", float, 0.5)),
        ("power: int = 2", Parameter("power", int, 2)),
        ("power=2", Parameter("power", int, 2)),
        ("power=None", Parameter("power", ANY, None)),
        ("flag: bool = True", Parameter("flag", bool, True)),
        ("kind: Literal['a', 'b'] = 'a'", Parameter("kind", typing.Literal["a", "b"], "a")),
        ("kind: typing.Optional[int] = None", Parameter("kind", int | None, None)),
        ("kind: 'int | None' = None", Parameter("kind", int | None, None)),
        ("power: float = POWER", Parameter("power", float, 3)),
        ("power: float = torch.pi", Parameter("power", float)),
        ("power: float", Parameter("power", float, required=True)),
    ],
)
def test_the_type_and_the_default_of_a_parameter(written, expected):
    assert signature(f"def f(probe, *, {written}): ...", POWER=3).parameters == (expected,)


def test_what_has_no_default_and_stands_before_the_star_is_what_the_trial_gives():
    found = signature("def f(model, batches, loss, power=1, *, scale: int): ...")
    assert found.inputs == ("model", "batches", "loss")
    assert [each.name for each in found.parameters] == ["power", "scale"]


def test_a_class_takes_what_its_init_takes():
    found = signature("class Net(nn.Module):\n    def __init__(self, shape, classes, *, width: int = 8): ...")
    assert (found.inputs, found.parameters) == (("shape", "classes"), (Parameter("width", int, 8),))
    assert signature("class Net(Base): ...").inputs is None


def test_a_parameter_that_a_study_cannot_write_is_left_to_the_code():
    assert signature("def f(probe, *, act: nn.Module = nn.ReLU(), sizes=(1, 2)): ...").parameters == ()
    with pytest.raises(ValueError, match="parameter act has no default"):
        signature("def f(probe, *, act: nn.Module): ...")


def test_whole_numbers_become_real_where_the_function_takes_real_ones():
    assert [
        type(Parameter("p", kind).coerced(1)) for kind in (float, int, float | int, float | None, bool)
    ] == [
        float,
        int,
        int,
        float,
        int,
    ]


def test_a_built_in_function_is_asked_itself():
    def score(probe, temperature: float = 200.0, probes: int = 10, other: list = ()): ...

    assert of_function(score) == (Parameter("temperature", float, 200.0), Parameter("probes", int, 10))
