"""What is submitted: deploy/slurm.sbatch with options and words filled in, for one study in one folder."""

import shlex
import subprocess
from pathlib import Path

import pytest

from sweep import shipped
from sweep.errors import BadInput
from sweep.launch import main
from sweep.slurm.script import batch_script, name, options
from sweep.slurm.words import value, without
from tests import commands

GPUS = "--partition=gpu --gres=gpu:4 --time=8:00:00 --nodes=2"


def test_the_script_is_the_file_of_deploy_with_options_and_words_filled_in():
    assert shipped.BATCH_SCRIPT.resolve() == Path("deploy/slurm.sbatch").resolve()
    words = ["my study.yaml", "--set", "seed=0..2", "tag='$HOME'"]
    text = batch_script("small-1", options(GPUS), words)
    lines = text.splitlines()
    assert [line for line in shipped.BATCH_SCRIPT.read_text().splitlines()[:-1] if line not in lines] == []
    assert f"#SBATCH {GPUS}" in lines and "#SBATCH --job-name=small-1" in lines
    assert max(map(lines.index, (f"#SBATCH {GPUS}",))) < lines.index(f"set -- {shlex.join(words)}")
    shown = text.replace("exec ", "printf '%s\\n' ")
    said = subprocess.run(["bash", "-c", shown], capture_output=True, text=True, check=True).stdout
    assert said.splitlines()[-4:] == words, "the shell takes the words as they were given"


def test_a_study_in_a_folder_has_one_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    here = name("small", Path("results/small"), "")
    assert here == name("small", tmp_path / "results" / "small", "")
    others = [name("small", Path("others/small"), ""), name("small", Path("results/small"), "1/4")]
    assert len({here, *others}) == 3 and all(each.startswith("small-") for each in others)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("gpu", "--slurm gpu: give options of sbatch, such as --partition=gpu"),
        ("--comment='x", "--slurm --comment='x: No closing quotation: close the quotation"),
        ("-p gpu -Jmine", "--slurm: -J is set by the launch itself: leave it out"),
        ("--wrap=true", "--slurm: --wrap is set by the launch itself: leave it out"),
        (
            "--array=0-3",
            "--slurm: --array: an array is submitted by hand: sbatch --array=… deploy/slurm.sbatch",
        ),
        ("--comment='a\nb'", r"--slurm: '--comment=a\nb' has a control character: leave it out"),
    ],
)
def test_options_that_cannot_be_are_one_line(text, said):
    with pytest.raises(BadInput) as error:
        options(text)
    assert str(error.value) == said


def test_words_come_and_go():
    words = ["x.yaml", "--max-hours", "2", "--results=r", "-q", "--set", "seed=1"]
    assert value(words, "--max-hours") == "2" and value(words, "--results") == "r"
    assert value(words, "--address") is None
    assert without(words, "--max-hours", "--results", flags=("-q",)) == ["x.yaml", "--set", "seed=1"]


def test_a_dry_run_prints_the_script_and_nothing_else(study_file, tmp_path):
    ended = commands.run(
        main, study_file(), "--results", tmp_path / "r", "--dry-run", "--slurm", GPUS, "--workers", "2", "-q"
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout.startswith("#!/bin/bash\n") and f"#SBATCH {GPUS}\n" in ended.stdout
    words = [str(study_file()), "--results", str(tmp_path / "r"), "--workers", "2"]
    assert f"\nset -- {shlex.join(words)}\n" in ended.stdout
    assert not (tmp_path / "r").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--address", "h:1"], "--address: a job has a Ray cluster of its own: leave it out"),
        (["--set", "model=conv-7"], "conv-7"),
        (["--set", "dataset=cifar10", "--data-root", "/nowhere"], "/nowhere"),
    ],
)
def test_what_cannot_run_never_reaches_the_queue(words, said, study_file, tmp_path):
    ended = commands.run(
        main, study_file(), *words, "--results", tmp_path / "r", "--slurm", "--time=5", "--dry-run"
    )
    assert ended.returncode == 2 and ended.stderr.count("\n") == 1 and said in ended.stderr


def test_without_slurm_a_job_is_one_line(study_file, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    ended = commands.run(main, study_file(), "--results", tmp_path / "r", "--slurm", "")
    said = "--slurm: no squeue on this machine: launch where jobs of SLURM are submitted\n"
    assert (ended.returncode, ended.stderr) == (2, said)
