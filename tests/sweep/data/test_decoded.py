import multiprocessing
import os
import resource
import shutil
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch

from sweep.data import decoded
from sweep.errors import BadInput


def made():
    return {"a": torch.arange(6).view(2, 3), "b": torch.tensor([True, False])}


def kept(root, make=made):
    return decoded.kept(root, "key", ("a", "b"), make)


def refuse():
    raise AssertionError("made again")


def same(found):
    return found.keys() == made().keys() and all(torch.equal(found[name], made()[name]) for name in found)


def left(root):
    return sorted(path.name for path in (root / decoded.FOLDER).iterdir())


def test_what_was_made_once_is_only_mapped_from_then_on(tmp_path):
    assert same(kept(tmp_path)) and same(kept(tmp_path, refuse))
    assert left(tmp_path) == ["key", "key.lock"]


def test_writing_to_a_mapped_tensor_reaches_neither_the_file_nor_others(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        written, other = kept(tmp_path)["a"], kept(tmp_path)["a"]
    before = (tmp_path / decoded.FOLDER / "key" / "a.npy").read_bytes()
    written.zero_()
    assert (tmp_path / decoded.FOLDER / "key" / "a.npy").read_bytes() == before
    assert torch.equal(other, made()["a"]) and torch.equal(kept(tmp_path)["a"], made()["a"])


@pytest.mark.slow
def test_a_mapped_tensor_takes_no_memory_of_its_own(tmp_path):
    size = 64 << 20
    decoded.kept(tmp_path, "large", ("a",), lambda: {"a": torch.ones(size, dtype=torch.uint8)})
    found = decoded.kept(tmp_path, "large", ("a",), refuse)["a"]
    assert int(found.sum(dtype=torch.int64)) == size
    private, of_ours = 0, False
    for line in Path("/proc/self/smaps").read_text().splitlines():
        start, _, rest = line.partition(" ")[0].partition("-")
        if rest:
            of_ours = int(start, 16) <= found.data_ptr() < int(rest, 16)
        elif of_ours and line.startswith("Private_Dirty:"):
            private = int(line.split()[1])
    assert private < 1024  # kB


def slow(root, times):
    def make():
        with times.open("a") as file:
            file.write("made\n")
        return {"a": torch.randint(2**62, (1 << 16,), generator=torch.Generator().manual_seed(os.getpid()))}

    return int(decoded.kept(root, "key", ("a",), make)["a"].sum())


@pytest.mark.slow
def test_of_processes_that_race_one_makes_it_and_all_get_the_same(tmp_path):
    # Not "fork": a copy of this process would have Ray's handlers of signals, and locks that no thread releases.
    with multiprocessing.get_context("forkserver").Pool(4) as pool:
        found = pool.starmap(slow, [(tmp_path, tmp_path / "times")] * 8, chunksize=1)
    assert len(set(found)) == 1
    assert (tmp_path / "times").read_text() == "made\n"
    assert left(tmp_path) == ["key", "key.lock"]


@pytest.mark.parametrize("damage", ["missing", "truncated", "empty", "header", "archive", "dates", "pipe"])
def test_a_damaged_folder_is_made_anew(tmp_path, damage):
    kept(tmp_path)
    file = tmp_path / decoded.FOLDER / "key" / "a.npy"
    whole = file.read_bytes()
    file.unlink()
    if damage == "header":
        file.write_bytes(whole.replace(b"}", b" ", 1))
    elif damage == "archive":
        with file.open("wb") as other:
            np.savez(other, np.zeros(3))
    elif damage == "dates":
        np.save(file, np.zeros(3, dtype="datetime64[s]"))
    elif damage == "pipe":
        os.mkfifo(file)
    elif damage != "missing":
        file.write_bytes(whole[: 150 if damage == "truncated" else 0])
    assert same(kept(tmp_path)) and same(kept(tmp_path, refuse))


def test_what_a_killed_process_left_is_cleared_away(tmp_path):
    part = tmp_path / decoded.FOLDER / "key.0123.part"
    part.mkdir(parents=True)
    np.save(part / "a.npy", np.zeros(3))
    assert same(kept(tmp_path))
    assert left(tmp_path) == ["key", "key.lock"]


def test_a_folder_that_cannot_be_written_to_is_done_without(tmp_path):
    (tmp_path / decoded.FOLDER).write_text("in the way")
    assert same(kept(tmp_path)) and same(kept(tmp_path))
    shutil.rmtree(tmp_path)
    assert same(kept(tmp_path))


def test_a_full_disk_is_done_without_and_nothing_half_is_left(tmp_path):
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(
        resource.RLIMIT_FSIZE, (1 << 16, limits[1])
    )  # writing further is an error, as on a full disk
    try:
        found = decoded.kept(tmp_path, "large", ("a",), lambda: {"a": torch.ones(1 << 20)})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert torch.equal(found["a"], torch.ones(1 << 20))
    assert left(tmp_path) == ["large.lock"]


def test_an_error_of_making_is_told_and_nothing_is_left(tmp_path):
    def broken():
        raise BadInput("no")

    with pytest.raises(BadInput):
        kept(tmp_path, broken)
    assert left(tmp_path) == ["key.lock"] and same(kept(tmp_path))


def test_a_fingerprint_is_of_names_labels_sizes_and_times_whatever_the_place(tmp_path):
    def fingerprint(folder):
        files = sorted(folder.iterdir())
        return decoded.fingerprint(folder, [(str(file), len(file.name)) for file in files])

    one, other = tmp_path / "one", tmp_path / "other"
    one.mkdir()
    (one / "a").write_text("1")
    shutil.copytree(one, other)
    first = fingerprint(one)
    assert fingerprint(one) == fingerprint(other) == first
    assert decoded.fingerprint(one, [(str(one / "a"), 2)]) != first
    os.utime(one / "a", (0, 0))
    (other / "a").rename(other / "b")
    assert len({first, fingerprint(one), fingerprint(other)}) == 3


def test_a_fingerprint_is_what_it_was_in_earlier_versions(tmp_path):
    for name in ("a.png", "ü.png", os.fsdecode(b"\xff.png")):
        (tmp_path / name).write_text("1")
        os.utime(tmp_path / name, (1, 1))

    def fingerprint(*names):
        return decoded.fingerprint(tmp_path, [(str(tmp_path / name), 3) for name in names])

    # By another key, whatever is kept would be decoded again.
    assert fingerprint("a.png", "ü.png") == "44d165a7833f9865"
    # A name that is no UTF-8 had none.
    assert fingerprint(os.fsdecode(b"\xff.png")) not in (fingerprint("a.png"), fingerprint("ü.png"))


def test_a_file_that_is_gone_is_named(tmp_path):
    with pytest.raises(BadInput, match="No such file"):
        decoded.fingerprint(tmp_path, [(str(tmp_path / "gone"), 0)])


def test_a_pipe_a_device_or_a_name_that_cannot_be_is_one_line(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (str(tmp_path / "pipe"), "/dev/zero", str(tmp_path), "x" * 5000, "a\0b"):
        with pytest.raises(BadInput, match=r": .*remove "):
            decoded.fingerprint(tmp_path, [(path, 0)])
