"""docs/own-parts.md: its examples are the files, its table is of the kinds, its commands and outputs are real."""

import inspect
import re
from pathlib import Path

import pytest
import yaml

import pruners
from sweep import launch, parts
from sweep.check.criterion import check_criterion
from sweep.errors import BadInput
from sweep.parts.kinds import KINDS
from sweep.study import load
from sweep.trial import run
from sweep.trial.rehearsal import rehearse
from tests import commands

ROOT = Path(__file__).parents[1]
_NUMBER = re.compile(r"\d+\.\d+")
PAGE = (ROOT / "docs" / "own-parts.md").read_text("utf-8")
EXAMPLES = sorted(path for kind in ("py", "yaml") for path in (ROOT / "examples").glob(f"*.{kind}"))
# Language and text of each block.
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
COMMANDS = [line for _, text in BLOCKS for line in text.splitlines() if line.startswith("python -m ")]
BROKEN = """\
import random


def half_gradient(probe, *, power: float = 0.5):
    gradient = probe.gradient()
    return {name: weight.abs() * gradient[name].abs() ** power for name, weight in probe.weights.items()}


def convnext(shape, classes): ...


def typo(probe):
    return {name: wieght.abs() for name, weight in probe.weights.items()}


def logarithm(probe):
    return {name: gradient.abs().log() for name, gradient in probe.gradient().items()}


def summed(probe):
    return {name: weight.abs().sum(0) for name, weight in probe.weights.items()}


def first_layer(probe):
    return dict(list(half_gradient(probe).items())[:1])


def draws(probe):
    return {name: weight.abs() + random.random() for name, weight in probe.weights.items()}


def nothing(parameters, settings):
    pass


def late(probe):
    if len(probe.batches[0][0]) > 8:
        raise RuntimeError("more than eight images")
    return half_gradient(probe)
"""
STUDY = "dataset: digits\nmodel: conv-5\nepochs: 1\nsparsity: 0.9\n"


@pytest.fixture
def study(tmp_path, monkeypatch):
    """Reads a study whose parts are the broken ones, by its last lines."""
    monkeypatch.chdir(tmp_path)
    Path("myscores.py").write_text(BROKEN)

    def read(text):
        Path("study.yaml").write_text(STUDY + text)
        return load("study.yaml")

    return read


def kinds():
    """The rows of the table of kinds."""
    yield "| kind | named by | a trial gives it → it returns | options of its decorator | entry points |"
    yield "|---|---|---|---|---|"
    for kind in KINDS.values():
        decorator = pruners.criterion if kind.name == "criterion" else getattr(parts, kind.name)
        options = [
            name for name in inspect.signature(decorator).parameters if name not in ("name", "version")
        ]
        said = ", ".join(f"`{name}`" for name in options) or "none"
        forms = " or ".join(f"`{form}`" for form in kind.form.replace("->", "→").split(" or "))
        yield f"| {kind.name} | `{kind.field}` | {forms} | {said} | `secateur.{kind.group}` |"


def test_the_table_is_of_the_kinds_and_their_decorators():
    assert f"<!-- kinds -->\n{chr(10).join(kinds())}\n<!-- end of kinds -->" in PAGE


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_an_example_in_the_page_is_the_file(path):
    language = {".py": "python", ".yaml": "yaml"}[path.suffix]
    assert f"```{language}\n{path.read_text()}```" in PAGE


@pytest.mark.parametrize("study", sorted({line.split()[3] for line in COMMANDS if "sweep.launch" in line}))
def test_a_study_that_the_page_launches_can_be_launched(study, tmp_path):
    answer = commands.run(launch.main, ROOT / study, "--dry-run", "--results", tmp_path)
    assert answer.returncode == 0
    assert answer.stdout.splitlines()[0].startswith(f"{Path(study).stem}: ")


def test_the_first_output_of_the_page_is_that_of_the_first_command(tmp_path):
    answer = commands.run(
        launch.main, ROOT / "examples/criterion.yaml", "--dry-run", "--results", tmp_path / "results"
    )
    assert f"```\n{answer.stdout.splitlines()[0]}\n```" in PAGE


def test_every_command_of_the_page_is_of_a_tool_that_the_project_has():
    tools = {line.split()[2] for line in COMMANDS}
    assert tools == {"sweep.launch", "sweep.check", "analysis"}
    named = {line.split()[3] for line in COMMANDS if line.split()[2] == "analysis"}
    assert named <= {"accuracy", "crossover", "export", "sql"}


def test_the_search_space_of_the_page_is_one(tmp_path):
    [block] = [text for language, text in BLOCKS if language == "yaml" and "search:" in text]
    text = yaml.safe_dump(yaml.safe_load(block), sort_keys=False)
    path = tmp_path / "search.yaml"
    path.write_text(text.replace("criterion.py:", f"{ROOT}/examples/criterion.py:"))
    assert [each.name for each in load(path).search.dimensions] == ["criterion", "criterion.power"]


@pytest.mark.parametrize(
    "text",
    [
        "criterion: myscores.py:half_gradient\ncriterion.powr: 1\n",
        "criterion: myscores.py:half_gradent\n",
        "criterion: myscores.py:convnext\n",
    ],
)
def test_a_mistake_is_told_as_the_page_says(study, text):
    with pytest.raises(BadInput) as error:
        study(text)
    assert f"\n{error.value}\n" in PAGE


@pytest.mark.parametrize("reference", [
    "criterion: myscores.py:typo",
    "criterion: myscores.py:logarithm",
    "criterion: myscores.py:summed",
    "criterion: myscores.py:first_layer",
    "criterion: myscores.py:draws",
    "optimizer: myscores.py:nothing\ncriterion: snip",
])  # fmt: skip
def test_a_fault_that_running_tells_is_told_as_the_page_says(study, reference):
    read = study(f"{reference}\n")
    fault = rehearse(read.trials()[0], list(read.parts.values()), "data")
    assert f"\n{fault}\n" in PAGE


def test_an_error_in_a_trial_has_the_traceback_of_the_page(study):
    read = study("criterion: myscores.py:late\n")
    with pytest.raises(RuntimeError) as error:
        run(read.trials()[0])
    assert ("", parts.trace(error.value, read.parts.values())) in BLOCKS


@pytest.mark.slow
def test_the_report_of_a_check_is_that_of_the_page(study):
    report = check_criterion(parts.find(next(iter(load(ROOT / "examples/criterion.yaml").parts))).load())
    block = " ".join(PAGE.partition("<!-- check -->")[2].split("```")[1].split())
    for finding in report.findings:
        assert finding.name in block
        if "equal" in finding.name:  # how many scores are equal to the last bit depends on the processor
            assert _NUMBER.sub("#", finding.text) in _NUMBER.sub("#", block), finding
        elif "time" not in finding.name:
            assert finding.text in block, finding
    for row in report.grids[0].rows[:5]:
        assert " ".join(row) in block
