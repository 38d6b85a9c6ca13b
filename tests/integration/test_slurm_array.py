"""An array of jobs of a real SLURM, each job a part of one launch in one folder."""

import shlex
import sys
from pathlib import Path

import pytest

from tests.integration.launching import DATA
from tests.integration.test_launch_parts import STUDY, is_as_after_a_plain_launch

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[2]


@pytest.mark.long
def test_an_array_of_four_on_one_folder_runs_each_trial_once(slurm, study_file, tmp_path):
    path, results = study_file(STUDY, "shared.yaml"), tmp_path / "results"
    words = [sys.executable, "-m", "sweep.launch", path, "--results", results, "--data-root", DATA]
    command = f"cd {ROOT} && {shlex.join(map(str, words))} --part $SLURM_ARRAY_TASK_ID/4 --workers 1"
    array = ("--parsable", "--array=1-4", f"--output={tmp_path}/part-%a.out", "--ntasks=1")
    number = slurm.say("sbatch", *array, f"--wrap={command}")
    slurm.wait(lambda: not slurm.say("squeue", "--noheader", "--job", number, check=False), "the end", 350)
    logs = {each.name: each.read_text() for each in tmp_path.glob("part-*.out")}
    assert len(logs) == 4 and all("trials of all parts have a result" in log for log in logs.values()), logs
    is_as_after_a_plain_launch(path, results)
