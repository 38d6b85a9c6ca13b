"""A wheel holds all that a study needs: installed, it runs one by name in an empty folder."""

import json
import os
import subprocess
import sys
import sysconfig
import zipfile

import pytest

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    build = [
        "wheel",
        "--no-deps",
        "--no-build-isolation",
        "--quiet",
        "--no-index",
        "--wheel-dir",
        folder,
        ".",
    ]
    subprocess.run([sys.executable, "-m", "pip", *build], check=True, capture_output=True)
    [built] = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def secateur(wheel, tmp_path_factory):
    """The installed command, called in an empty folder. It knows nothing of the repository."""
    target, empty = tmp_path_factory.mktemp("installed"), tmp_path_factory.mktemp("empty")
    install = ["install", "--no-deps", "--quiet", "--no-index", "--target", target, wheel]
    subprocess.run([sys.executable, "-m", "pip", *install], check=True, capture_output=True)
    # Paths of the packages that it needs, without the editable install of the repository.
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(target), sysconfig.get_path("purelib")])}

    def call(*words):
        return subprocess.run(
            [sys.executable, target / "bin" / "secateur", *words],
            cwd=empty, env=environment, capture_output=True, text=True, check=False,
        )  # fmt: skip

    return call


def test_it_holds_queries_the_page_the_studies_and_the_examples_and_no_tests(wheel):
    with zipfile.ZipFile(wheel) as held:
        names = held.namelist()
    assert {
        "analysis/queries/crossover.sql",
        "analysis/report/page.html",
        "sweep/shipped/studies/quickstart.yaml",
        "sweep/shipped/examples/criterion.py",
        "sweep/shipped/examples/criterion.yaml",
        "sweep/shipped/slurm.sbatch",
        *(f"{package}/py.typed" for package in ("analysis", "pruners", "sweep")),
    } <= set(names)
    assert {name.partition("/")[0] for name in names if ".dist-info/" not in name} == {
        "analysis", "pruners", "sweep",
    }  # fmt: skip


@pytest.mark.long
def test_it_launches_a_study_by_name_in_an_empty_folder(secateur):
    counted = secateur("launch", "quickstart", "--dry-run", "--format", "json")
    told = json.loads(counted.stdout)
    assert (told["trials"], told["to_run"], told["exit"]) == (216, 216, 0), counted.stderr
    assert told["estimate"]["steps"] > 0 and "216 trials" in counted.stderr
    ran = secateur("launch", "criterion", "--max-trials", "1", "--workers", "1", "--quiet")
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.splitlines()[0] == "results: results/criterion"
    asked = secateur("analysis", "sql", "SELECT count(*) AS n FROM trials", "--format", "json")
    assert json.loads(asked.stdout) == [{"n": 1}]
