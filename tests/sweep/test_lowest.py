"""The versions of constraints-lowest.txt, with which `make test-lowest` runs, are the lowest that are allowed."""

import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

PROJECT = tomllib.loads(Path("pyproject.toml").read_text())["project"]
REQUIRED = [
    requirement
    for group in (PROJECT["dependencies"], *PROJECT["optional-dependencies"].values())
    for requirement in map(Requirement, group)
    if requirement.name != PROJECT["name"]
]


def pinned(file):
    lines = [line for line in Path(file).read_text().splitlines() if not line.startswith("#")]
    return {
        canonicalize_name(name): Version(version) for name, version in (line.split("==") for line in lines)
    }


@pytest.mark.parametrize("requirement", REQUIRED, ids=str)
def test_the_lowest_version_that_is_allowed_is_the_one_that_is_tested(requirement):
    bounds = [Version(each.version) for each in requirement.specifier if each.operator == ">="]
    tested = pinned("constraints-lowest.txt")[canonicalize_name(requirement.name)]
    # The package of Ray has its bound where it is required without the extra.
    assert bounds == [tested] or (requirement.extras and not bounds), f"{requirement}: tested with {tested}"
    assert requirement.specifier.contains(pinned("constraints.txt")[canonicalize_name(requirement.name)])
