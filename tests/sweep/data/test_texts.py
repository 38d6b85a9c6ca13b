"""Texts: bytes as tokens, windows that do not overlap, splits by position."""

import itertools

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sweep import data
from sweep.data import reading, texts
from sweep.errors import BadInput

LINES = "".join(f"line {number} of a text\n" for number in range(400)).encode()


@pytest.fixture
def own(tmp_path):
    """A data root with one text."""
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "train.txt").write_bytes(LINES)
    (tmp_path / "mine" / "test.txt").write_bytes(LINES[:999] + bytes([255]))
    reading.find.cache_clear()
    data.load.cache_clear()
    return tmp_path


@given(st.lists(st.binary(max_size=40), min_size=1, max_size=4), st.integers(1, 9))
def test_windows_are_the_text_and_targets_the_byte_after_each(pieces, length):
    counts = [max(0, (len(piece) - 1) // length) for piece in pieces]
    if not any(counts):
        with pytest.raises(BadInput, match="no window of"):
            texts.windows("t", tuple(pieces), length)
        return
    inputs, targets = texts.windows("t", tuple(pieces), length)
    expected = [
        (piece[at : at + length], piece[at + 1 : at + 1 + length])
        for piece, count in zip(pieces, counts, strict=True)
        for at in range(0, count * length, length)
    ]
    assert [(bytes(i.tolist()), bytes(t.tolist())) for i, t in zip(inputs, targets, strict=True)] == expected


def test_a_text_of_ones_own_is_read_split_by_position_and_kept(own):
    loaded = data.load("text-file:mine", own, 0.25, 0)
    assert loaded.form == data.Form((64,), data.LANGUAGE, images=False, dtype=torch.int64)
    assert loaded.classes == 256 and loaded.mean is None
    count = (len(LINES) - 1) // 64
    assert (len(loaded.train), len(loaded.validation)) == (count - round(count / 4), round(count / 4))
    everything = texts.windows("t", (LINES,), 64)[0]
    places = [
        next(at for at in range(count) if torch.equal(everything[at], window))
        for window in loaded.validation.images
    ]
    steps = {(after - before) % count for before, after in itertools.pairwise(places)}
    assert steps == {1}, "validation is one stretch of the text"
    inputs, targets = next(loaded.train.batches(4))
    assert inputs.dtype == torch.uint8 and loaded.inputs(inputs).dtype == targets.dtype == torch.int64
    assert torch.equal(loaded.inputs(inputs)[:, 1:], targets[:, :-1])
    assert data.sizes("text-file:mine", own, 0.25).test == len(loaded.test) == 999 // 64
    kept = [each.name for each in (own / ".secateur").iterdir() if each.is_dir()]
    assert len(kept) == 1 and kept[0].startswith("text-file-mine-")


def test_the_length_of_windows_is_a_parameter(own):
    loaded = data.load("text-file:mine", own, 0.25, 0, arguments=(("length", 16),))
    assert loaded.shape == (16,)
    assert data.check("text-file:mine", own, (("length", 16),)).shape == (16,)


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("text-file:none", (), "expected are .*none/train.txt and .*none/test.txt"),
        ("text-file:mine", (("length", 0),), "give 1 to 65,536"),
        ("text-file:mine", (("length", 5000),), "test: a text of 1000 bytes has no window of 5000"),
        ("text:kjv", (("book", "Exodos"),), "no such book; known: all, Genesis, Exodus"),
        ("text:kjv", (("book", "Ruth,Ruth"),), "Ruth is named twice"),
    ],
)
def test_bad_texts_are_one_line(own, name, arguments, message):
    with pytest.raises(BadInput, match=message) as caught:
        data.check(name, own, arguments)
    assert "\n" not in str(caught.value)


def test_a_folder_in_place_of_a_text_is_one_line(own):
    (own / "mine" / "test.txt").unlink()
    (own / "mine" / "test.txt").mkdir()
    with pytest.raises(BadInput, match="no regular file"):
        data.check("text-file:mine", own)


def test_the_last_tenth_of_each_book_is_test_text(tmp_path):
    train, test = texts.kjv(tmp_path)
    assert len(train) == len(test) == 66
    verses = [part.count(b"\n") for part in (b"".join(train), b"".join(test))]
    assert sum(verses) == 31_103 and 0.1 < verses[1] / 31_103 < 0.102
    assert train[0].startswith(b"In the beginning God created the heaven and the earth.\n")
    assert test[0].endswith(b"in a coffin in Egypt.\n"), "Genesis ends in its test text"
    one = texts.kjv(tmp_path, book="Genesis")
    assert one == ((train[0],), (test[0],))
    assert texts.kjv(tmp_path, book="Exodus, Genesis").train == (train[1], train[0])


def test_another_text_in_the_package_is_refused(tmp_path, monkeypatch):
    texts._books.cache_clear()
    monkeypatch.setattr(texts, "_KJV_HASH", "0" * 64)
    with pytest.raises(BadInput, match="install that version"):
        texts.kjv(tmp_path)


def test_a_missing_package_is_one_line(tmp_path, monkeypatch):
    texts._books.cache_clear()
    monkeypatch.setattr(texts, "_KJV", ("no-such-package", "x"))
    with pytest.raises(BadInput, match=r"pip install 'secateur\[text\]'"):
        texts.kjv(tmp_path)
