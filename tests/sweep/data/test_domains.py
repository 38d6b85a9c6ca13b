"""Domains are parts of the training inputs, found by their places."""

from pathlib import Path

import pytest

from sweep import data
from sweep.data import domains, texts
from sweep.errors import BadInput


@pytest.mark.parametrize("length", [64, 500])
def test_the_windows_of_a_book_are_its_training_text(length):
    pieces = texts.kjv(Path()).train
    windows, _ = texts.windows("text:kjv", pieces, length)
    found = texts.books(length=length)
    assert len(found) == 66 and sum(map(len, found.values())) == len(windows)
    for (name, places), piece in zip(found.items(), pieces, strict=True):
        text = bytes(windows[places.start : places.stop].flatten().tolist())
        assert text and piece.startswith(text), name


def test_one_book_is_the_only_domain_of_its_text():
    assert texts.books(book="Ruth") == {"Ruth": range(len(texts.books()["Ruth"]))}


@pytest.mark.parametrize(
    ("name", "dataset", "arguments", "message"),
    [
        ("Exodos", "text:kjv", (), "did you mean Exodus?"),
        ("?", "text:kjv", (), "known: all, Genesis, Exodus"),
        ("Exodus", "text:kjv", (("book", "Genesis"),), "no such domain to train on; known: all, Genesis"),
        ("Genesis", "text-file:mine", (), "text-file:mine has no domains, as text:kjv has"),
        ("3", "digits", (), "digits has no domains"),
    ],
)
def test_an_unknown_domain_is_one_line(name, dataset, arguments, message):
    with pytest.raises(BadInput, match=f"score_domain {name}".replace("?", r"\?")) as caught:
        domains.find(name, dataset, arguments)
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_domains_of_several_books_are_in_the_order_of_the_text():
    both, ruth = texts.books(book="Ruth,Jonah"), texts.books(book="Ruth")["Ruth"]
    assert list(both) == ["Ruth", "Jonah"] and both["Ruth"] == ruth and both["Jonah"].start == ruth.stop


def test_places_of_a_split_are_those_of_its_training_inputs(tmp_path):
    """Of images too, whatever way they are split."""
    loaded = data.load("digits", Path("data"), 0.1, 0)
    everything = data.load("digits", Path("data"), 0.1, 1)
    assert loaded.places.tolist() == loaded.train.rows.tolist() != everything.places.tolist()
