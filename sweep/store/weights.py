"""Files of trained weights: named by their content, and kept in one folder for the workers of all nodes."""

import hashlib
from pathlib import Path

from sweep.errors import BadInput
from sweep.store.places import Place, is_small, put, remedy

# The folder of weights, beside the results of all studies.
FOLDER = ".weights"
SUFFIXES = (".safetensors", ".pt", ".pth")
# The largest file of weights, in bytes.
_MOST_BYTES = 2**34
# Hex digits of the SHA-256 of a file's content in the name of the file's weights.
_DIGITS = 16


def name(path: Path) -> str:
    """The name of a file's weights in a config: `FILE@HASH`, without folders.

    Raises:
        BadInput: there is no such file, or it cannot be read or named.
    """
    if path.suffix not in SUFFIXES:
        raise BadInput(f"{path}: weights are in a file that ends in {', '.join(SUFFIXES)}")
    if any(letter in "@\\" or letter.isspace() or not letter.isprintable() for letter in path.name):
        raise BadInput(f"{path}: a file of weights has no space and no @ in its name: rename it")
    return f"{path.name}@{_digest(_content(path))[:_DIGITS]}"


def label(name: str) -> str:
    """The name of weights for a person: the file without the hash."""
    return name.partition("@")[0]


def send(name: str, path: Path, folder: Place) -> None:
    """Copy a file of weights to the folder from which workers read it, unless it is there.

    Raises:
        BadInput: the file is not the one that the name means, or the folder cannot be written to.
    """
    content = _content(path)
    if not _fits(name, content):
        raise BadInput(f"{path}: it has changed since the study was read: launch again")
    target = folder / _file(name)
    try:
        if target.is_file() and is_small(target, _MOST_BYTES) and _fits(name, target.read_bytes()):
            return
        put(target, lambda file: file.write(content))
    except OSError as error:
        raise BadInput(f"{target}: {error.strerror or error}: {remedy(target)} and launch again") from None


def has(name: str, folder: Place) -> bool:
    """Whether a launch has sent the file of weights of a name."""
    return bool((folder / _file(name)).is_file())


def read(name: str, folder: Place) -> bytes:
    """The content of the file of weights of a name, as a launch has sent it.

    Raises:
        BadInput: the file is missing, or its content has another hash.
    """
    target = folder / _file(name)
    content = _content(target)
    if not _fits(name, content):
        raise BadInput(f"{target}: it is not the file that the study names: launch again to replace it")
    return content


def _content(file: Place) -> bytes:
    try:
        if not file.exists():
            raise FileNotFoundError
        if not is_small(file, _MOST_BYTES):
            raise BadInput(f"{file}: no file of at most {_MOST_BYTES >> 30} GiB")
        return file.read_bytes()
    except FileNotFoundError:
        raise BadInput(f"there is no file {file}") from None
    except OSError as error:
        raise BadInput(f"{file}: {error.strerror or error}: make it readable") from None


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _hash(name: str) -> str:
    return name.rpartition("@")[2]


def _fits(name: str, content: bytes) -> bool:
    """Whether content is that of the file that a name means."""
    return _digest(content).startswith(_hash(name))


def _file(name: str) -> str:
    """The file of weights in the folder: its name is the hash, and says the format."""
    return f"{_hash(name)}{Path(label(name)).suffix}"
