"""Launches of several users on one machine, whatever it has left of earlier ones, and what they leave."""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from sweep.engine import ray_private, scratch
from sweep.store.results import finished
from tests.integration import another
from tests.integration.launching import LONG, LONGER, end, launch, running, wait_for

pytestmark = pytest.mark.slow

SMALL = """\
name: small
dataset: digits
model: conv-5
epochs: 1
criterion: snip
sparsity: 0.9
"""
# A machine with 64 MB of shared memory, as Docker gives a container, and a /tmp/ray that is closed to others.
_MOUNT = """
mkdir -p /tmp/ray && mount -t tmpfs -o size=64m none /dev/shm && mount -t tmpfs -o mode=700 none /tmp/ray && exec "$@"
"""
_STRAITENED = ["unshare", "--mount", "sh", "-c", _MOUNT, "sh"]


@pytest.fixture
def common():
    """A folder with a short name, which every user may write to."""
    place = Path(tempfile.mkdtemp(dir="/tmp"))
    place.chmod(0o777)
    yield place
    shutil.rmtree(place)


def left(place):
    """Scratch folders in a place, and processes of this user that are of one of them."""
    folders = [*place.glob("secateur_*")]
    return folders, [pid for folder in folders for pid in scratch._processes(folder)]


@pytest.mark.long
def test_another_user_without_a_home_and_with_little_shared_memory_launches_as_well(common):
    """/tmp/ray is of the first user, and TMPDIR is too long for sockets."""
    words = another.user()
    if subprocess.run([*_STRAITENED, "true"], capture_output=True, check=False).returncode == 0:
        words = _STRAITENED + words
    study, long = common / "small.yaml", common / ("t" * 90)
    study.write_text(SMALL)
    long.mkdir()
    long.chmod(0o777)
    words += [sys.executable, "-m", "sweep.launch", study, "--results", common / "results", "--workers", 1]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    environment |= {"HOME": "/nonexistent", "TMPDIR": str(long)}
    done = subprocess.run(
        [*map(str, words)], env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    assert len(finished(common / "results" / "small")) == 1
    assert not [*long.glob("secateur_*")]


@pytest.mark.long
def test_nothing_is_left_of_a_killed_launch_after_the_next(study_file, common, monkeypatch):
    room = scratch._LONGEST - ray_private.SOCKET_NAME - len(f"{common}//secateur_12345678")
    place = common / ("p" * room)  # as long as it may be
    place.mkdir()
    monkeypatch.setenv(scratch.RAY, str(place))
    results = common / "results"
    words = (study_file(LONGER, "longer.yaml"), "--results", results, "--workers", 1)
    with running(*words) as first:
        wait_for(results / "longer", 2, first)
        first.kill()
        first.communicate()
    folders, processes = left(place)
    assert folders and processes, "Ray's agents outlive it"
    code, out, err = end(launch(*words))
    assert (code, err) == (0, "") and f"longer: {LONG} of {LONG} trials" in out
    assert left(place) == ([], [])
    assert not [pid for folder in folders for pid in scratch._processes(folder)]
