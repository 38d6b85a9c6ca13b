"""One command starts all others, quickly, and tells what version it is of."""

import json
import subprocess
import sys

import pytest

from sweep import shipped
from sweep.shell.__main__ import main
from sweep.shell.commands import COMMANDS
from tests.commands import run


def test_help_lists_every_command():
    said = run(main, "--help").stdout
    assert all(name in said and one.help in said for name, one in COMMANDS.items())
    assert run(main).stdout == said


def test_an_unknown_command_is_one_line():
    ended = run(main, "lanch")
    assert ended.returncode == 2 and ended.stderr == (
        "secateur: No such command 'lanch'. Did you mean 'launch'? (see --help)\n"
    )


def test_a_command_gets_the_other_words_and_its_own_name(tmp_path):
    ended = run(main, "launch", "--workers")
    assert (ended.returncode, ended.stderr) == (
        2,
        "secateur launch: Option '--workers' requires an argument. (see --help)\n",
    )
    ended = run(main, "analysis", "crossover", "--results", tmp_path)
    assert ended.returncode == 2 and "no finished trials yet" in ended.stderr
    assert json.loads(run(main, "pruners", "--format", "json").stdout)[0]["name"] == "random"


@pytest.mark.parametrize("words", [(), *((name,) for name in COMMANDS)])
def test_every_command_says_its_version(words):
    ended = run(main, *words, "--version")
    assert ended.returncode == 0 and ended.stdout.startswith("secateur 0.") and "Python 3." in ended.stdout


@pytest.mark.slow
def test_help_and_version_and_studies_need_neither_torch_nor_ray():
    code = """
import sys
from sweep.shell.__main__ import main
for words in (["--help"], ["--version"], ["launch", "--version"], ["studies"], ["lanch"]):
    sys.argv = ["secateur", *words]
    try:
        main()
    except SystemExit:
        pass
assert not {"torch", "ray", "duckdb"} & sys.modules.keys()
"""
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def test_studies_that_come_along_are_listed():
    known = json.loads(run(main, "studies", "--format", "json").stdout)["studies"]
    assert [each["name"] for each in known] == list(shipped.studies())
    assert all(each["description"] for each in known)
    assert run(main, "studies", "-q").stdout.split() == list(shipped.studies())
