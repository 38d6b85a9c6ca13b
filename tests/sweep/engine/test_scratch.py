"""A scratch folder lives as long as its launch, and what a dead launch has left goes with the next one's."""

import os
import shutil
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path

import pytest

from sweep.engine import scratch
from sweep.errors import BadInput
from tests.integration import another

HOLDS = """
import subprocess, sys
from sweep.engine import scratch
with scratch.folder() as folder:
    with scratch.owning(folder):
        child = subprocess.Popen(["sleep", "600"], stdout=subprocess.DEVNULL)
    print(folder, child.pid, flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def place(tmp_path, monkeypatch):
    """Where scratch folders go."""
    monkeypatch.setenv(scratch.RAY, str(tmp_path))
    return tmp_path


def holder(*prefix):
    """Another launch that holds a folder: its process, the folder, and a process of the folder."""
    process = subprocess.Popen(
        [*prefix, sys.executable, "-c", HOLDS], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    folder, child = process.stdout.readline().split()
    return process, Path(folder), int(child)


def alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_a_folder_and_its_processes_end_with_the_launch(place):
    with scratch.folder() as folder:
        with scratch.owning(folder):
            child = subprocess.Popen(["sleep", "600"], stdout=subprocess.DEVNULL)
        assert os.environ[scratch.RAY] == str(place), "later processes are none of the folder's"
        assert [*place.iterdir()] == [folder] and folder.stat().st_mode & 0o777 == 0o700
    assert child.wait(10) == -9 and not [*place.iterdir()]


def test_a_launch_that_leaves_at_once_removes_its_folders_before(place):
    with scratch.folder() as folder, scratch.folder() as other:
        scratch.remove_all()
        assert not folder.exists() and not other.exists()


@pytest.mark.usefixtures("place")
def test_what_a_killed_launch_has_left_goes_with_the_next_and_a_living_one_keeps_its_own():
    (dead, left, child), (living, kept, its) = holder(), holder()
    dead.kill()
    dead.wait()
    assert left.exists() and alive(child), "what is to be removed is there"
    unmarked = subprocess.Popen(["sleep", "600"])
    with scratch.folder():
        assert not left.exists() and not alive(child)
        assert kept.exists() and alive(its) and alive(unmarked.pid)
    unmarked.kill()
    unmarked.wait()
    living.communicate("")
    assert not kept.exists() and not alive(its)


def test_a_link_and_another_users_folder_are_left_alone(place):
    (place / "thesis").mkdir()
    (place / "secateur_link").symlink_to(place / "thesis")
    words = another.user()
    place.chmod(0o777)
    process, folder, child = holder(*words)
    process.kill()
    process.wait()
    with scratch.folder():
        assert folder.exists() and alive(child) and (place / "secateur_link").is_symlink()
    os.kill(child, 9)


def test_a_place_that_is_too_long_for_sockets_is_passed_over(tmp_path, monkeypatch):
    long = tmp_path / ("t" * 90)
    long.mkdir()
    monkeypatch.delenv(scratch.RAY, raising=False)
    monkeypatch.setattr(scratch.tempfile, "tempdir", str(long))
    with scratch.folder(room=60) as short, scratch.folder() as any_length:
        assert short.parent == Path("/tmp") and any_length.parent == long


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("t" * 90, "is too long for the names of sockets"),
        ("none", "No such file or directory"),
        ("file", "Not a directory"),
    ],
)
def test_a_place_that_cannot_be_is_one_line(name, why, monkeypatch, request):
    place = Path(tempfile.mkdtemp(dir="/tmp"))  # pytest's own are too long for sockets
    request.addfinalizer(partial(shutil.rmtree, place))
    (place / "file").touch()
    monkeypatch.setenv(scratch.RAY, str(place / name))
    with pytest.raises(BadInput) as caught, scratch.folder(room=20):
        pass
    assert why in str(caught.value) and f"set {scratch.RAY} to a folder of yours with a short name" in str(
        caught.value
    )
