"""Files of trained weights are named by their content, and never trusted on the way."""

import os

import pytest

from sweep.errors import BadInput
from sweep.store import weights
from sweep.store.places import place


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "net.safetensors"
    path.write_bytes(b"some weights")
    return path


def test_the_name_says_the_file_and_its_content_and_not_its_folder(file, tmp_path):
    other = tmp_path / "deeper" / "net.safetensors"
    other.parent.mkdir()
    other.write_bytes(b"some weights")
    assert weights.name(file) == weights.name(other)
    assert weights.name(file).startswith("net.safetensors@") and len(weights.name(file)) == 16 + 16
    other.write_bytes(b"same weights")
    assert weights.name(file) != weights.name(other)


@pytest.mark.parametrize("name", ["no.safetensors", "net.bin", "a b.pt", "a@b.pt", "folder.pt", "pipe.pt"])
def test_what_is_no_file_of_weights_is_one_line(tmp_path, name):
    (tmp_path / "folder.pt").mkdir()
    os.mkfifo(tmp_path / "pipe.pt")
    with pytest.raises(BadInput) as error:
        weights.name(tmp_path / name)
    assert name in str(error.value) and "\n" not in str(error.value)


def test_workers_read_what_the_launch_has_sent(file, tmp_path):
    folder, name = tmp_path / ".weights", weights.name(file)
    weights.send(name, file, folder)
    assert weights.read(name, folder) == b"some weights"
    [sent] = folder.iterdir()
    before = sent.stat().st_ino
    weights.send(name, file, folder)
    assert sent.stat().st_ino == before, "sent once"


def test_other_content_under_the_name_is_refused_and_replaced_by_the_next_launch(file, tmp_path):
    folder, name = tmp_path / ".weights", weights.name(file)
    weights.send(name, file, folder)
    [sent] = folder.iterdir()
    sent.write_bytes(b"evil weights")
    with pytest.raises(BadInput, match="not the file that the study names"):
        weights.read(name, folder)
    weights.send(name, file, folder)
    assert weights.read(name, folder) == b"some weights"


def test_a_file_that_changes_after_the_study_was_read_is_not_sent(file, tmp_path):
    name = weights.name(file)
    file.write_bytes(b"new weights")
    with pytest.raises(BadInput, match="has changed"):
        weights.send(name, file, tmp_path / ".weights")
    assert not (tmp_path / ".weights").exists()


def test_missing_weights_are_one_line(tmp_path):
    with pytest.raises(BadInput, match="there is no file"):
        weights.read("net.pt@0123456789abcdef", tmp_path)


def test_weights_travel_through_an_object_store(file, bucket):
    folder, name = place(f"{bucket}/results/.weights"), weights.name(file)
    weights.send(name, file, folder)
    weights.send(name, file, folder)
    assert weights.read(name, folder) == b"some weights"
