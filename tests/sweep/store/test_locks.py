"""Who may write the results of a study: one launch alone, or the parts of one launch together."""

import errno
import fcntl
import json
import threading
import time
from dataclasses import replace

import pytest

from sweep.errors import BadInput
from sweep.store import lease, results
from sweep.store.lease import LaunchPart
from sweep.store.places import place, put

ONE, TWO = LaunchPart(1, 4, "ab"), LaunchPart(2, 4, "ab")


def no_locks(*_):
    raise OSError(errno.ENOLCK, "No locks available")


@pytest.fixture(
    params=[
        "locks",
        "no locks",
        "locks of this machine alone",
        pytest.param("an object store", marks=pytest.mark.slow),
    ]
)
def folder(request, tmp_path, monkeypatch):
    """The folder of a study: where locks work, where there are none, and where no other machine sees them."""
    if request.param == "an object store":
        return place(f"{request.getfixturevalue('bucket')}/results/study")
    if request.param != "locks":
        instead = no_locks if request.param == "no locks" else lambda *_: None
        monkeypatch.setattr(fcntl, "flock", instead)
    return tmp_path / "study"


def test_parts_of_one_launch_write_beside_each_other_and_nobody_else_does(folder):
    with results.lock(folder, ONE), results.lock(folder, TWO):
        for other in (TWO, LaunchPart(3, 8, "cd"), LaunchPart(3, 4, "of a changed study"), None):
            taken = pytest.raises(
                BadInput, match=r"is being written by part [12]/4 of a launch, process \d+ on"
            )
            with taken, results.lock(folder, other):
                pass
    with results.lock(folder), pytest.raises(BadInput, match="by process"), results.lock(folder, ONE):
        pass
    with results.lock(folder, LaunchPart(1, 1, "ef")):
        pass
    assert not list(folder.glob(".lock-*")), "a lease is gone with its launch"


def test_a_part_waits_while_the_results_of_earlier_parts_are_merged(folder):
    merged = threading.Event()

    def part():
        with results.lock(folder, ONE):
            assert merged.is_set()
            began.set()

    began = threading.Event()
    with results.lock(folder, merges=True):
        waits = threading.Thread(target=part)
        waits.start()
        with pytest.raises(BadInput, match="is being written"), results.lock(folder):
            pass
        merged.set()
    waits.join(60)
    assert began.is_set()


def left(folder, of, **changes):
    """The lease of a launch that was killed, by default of this machine."""
    before = {*folder.glob(".lock-*")}
    with lease.hold(folder, of):
        [path] = {*folder.glob(".lock-*")} - before
        content = json.loads(path.read_bytes())
    content |= {"process": content["process"].rpartition("@")[0] + "@1", **changes}
    put(path, lambda file: file.write(json.dumps(content).encode()))
    return path


def test_the_lease_of_a_dead_part_is_in_the_way_of_nobody(folder):
    own, beside = left(folder, ONE), left(folder, TWO)
    with results.lock(folder, ONE):
        assert not own.exists()
        assert beside.exists(), "it is not looked at: the two parts are no harm to each other"
    with results.lock(folder):
        assert len(list(folder.glob(".lock-*"))) == 1


@pytest.mark.slow
def test_dead_parts_of_other_machines_are_waited_for_all_at_once(folder, monkeypatch):
    monkeypatch.setattr(lease, "DEAD", 1.0)
    for number in range(1, 5):
        left(folder, replace(ONE, number=number), process="other/pid:[1]/7@1")
    began = time.monotonic()
    with results.lock(folder):
        assert time.monotonic() - began > 1
        assert len(list(folder.glob(".lock-*"))) == 1


@pytest.mark.parametrize("part", [7, "2/4", [1], [1, 2, 3, 4], ["x", "y", "z"], {"number": 1}])
def test_a_lease_of_no_part_is_left_aside(part, tmp_path, capsys):
    path = left(tmp_path, ONE, part=part)
    with results.lock(tmp_path):
        pass
    assert f"{path}: not a launch's lock: left aside" in capsys.readouterr().err and path.exists()


def test_a_lock_is_no_way_to_another_file(tmp_path):
    victim = tmp_path / "victim"
    victim.write_text("whole")
    (tmp_path / "study").mkdir()
    (tmp_path / "study" / ".lock").symlink_to(victim)
    with pytest.raises(BadInput, match="choose another --results"), results.lock(tmp_path / "study"):
        pass
    assert victim.read_text() == "whole"
