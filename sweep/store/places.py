"""Places for results, states and data: a folder or file (`Path`), or one in an object store (`Remote`)."""

import hashlib
import io
import os
import shutil
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import IO
from urllib.parse import urlsplit

from sweep.errors import BadInput
from sweep.store.object_stores import KINDS
from sweep.store.remote import Remote as Remote

# Parallel requests when many objects are read or removed.
_AT_ONCE = 32
# Seconds between attempts to read files that another process is merging, and so removing one by one.
_PAUSES = (0.05, 0.1, 0.2, 0.5, 1.0, 2.0)

# Both have `/`, `name`, `parent`, `resolve`, `exists`, `is_file`, `is_dir`, `open`, `read_bytes`, `glob`,
# `iterdir`, `unlink` and `rmdir`. The functions below do what differs between the two.
Place = Path | Remote


def place(text: str | Place) -> Place:
    """The place that a folder's name or a URI means.

    Raises:
        BadInput: the URI names no known kind of store, or no bucket.
    """
    scheme, separator, rest = str(text).partition("://")
    if not separator:
        return Path(str(text))
    if scheme == "file":
        return Path(rest)
    if scheme not in KINDS:
        raise BadInput(f"{text}: results and data lie in a folder, or at {', '.join(KINDS)}://BUCKET/PREFIX")
    try:
        parts = urlsplit(str(text))
    except ValueError as error:
        raise BadInput(f"{text}: {error}: name it {scheme}://BUCKET/PREFIX") from None
    path = f"{parts.netloc}{parts.path}".rstrip("/")
    if not parts.netloc:
        raise BadInput(f"{text}: name a bucket: {scheme}://BUCKET/PREFIX")
    return Remote(scheme, path, parts.query)


def absolute(text: str | Place) -> str:
    """The name of a place that does not depend on the current folder."""
    return str(place(text).resolve())


def name_of(place: Place) -> str:
    """The name of a place as results say it: without the options of a store, which may be secret."""
    return str(replace(place, query="") if isinstance(place, Remote) else place)


def remedy(place: Place) -> str:
    """What a person can do about a place that cannot be written to."""
    if isinstance(place, Remote):
        return "check the store's address and your rights there"
    return "make room"


def is_plain(place: Place) -> bool:
    """Whether reading the place ends: an object, or a regular file.

    A read from a pipe waits for a writer, and a read from a device may never end.
    """
    return isinstance(place, Remote) or place.is_file()


def cached(kind: str, place: Place) -> Path:
    """Where this machine keeps a copy of something from a store, such as `data` or `journals`.

    Args:
        kind: of the copy; each kind has a folder of its own under ~/.cache/secateur, or $XDG_CACHE_HOME.
        place: in the store.
    """
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return home / "secateur" / kind / hashlib.sha256(str(place).encode()).hexdigest()[:16]


def put(target: Place, fill: Callable[[IO[bytes]], object], sync: bool = True) -> None:
    """Write a file or an object atomically: its name has the complete content or does not exist.

    Args:
        fill: writes the content to an open file.
        sync: wait until the content is on the disk itself, and not in the system's memory only.

    Raises:
        OSError: the disk or the store refused.
    """
    if isinstance(target, Remote):
        content = io.BytesIO()
        fill(content)
        target.write_bytes(content.getbuffer())
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.name}.{uuid.uuid4().hex[:8]}")
    try:
        # "x" creates a new file: it never writes into an existing one, nor follows a link.
        with temporary.open("xb") as file:
            fill(file)
            if sync:
                file.flush()
                os.fsync(file.fileno())
        temporary.replace(target)
    except OSError:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise


def copy(source: Remote, target: Path) -> None:
    """Copy an object to a file, or all objects under a prefix to a folder, atomically.

    Raises:
        FileNotFoundError: there is no such object or prefix.
        OSError: the store or the disk refused.
    """
    part = target.with_name(f".{target.name}.{uuid.uuid4().hex[:8]}")
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        if source.is_file():
            part.write_bytes(source.read_bytes())
        else:
            source.copy_below(part)
        part.rename(target)
    finally:
        if part.is_dir():
            shutil.rmtree(part, ignore_errors=True)
        else:
            part.unlink(missing_ok=True)


def read_all(places: Iterable[Place]) -> Iterator[bytes | OSError]:
    """The content of each place, or the error of reading it, in order; several are read in parallel."""

    def read(each: Place) -> bytes | OSError:
        try:
            return each.read_bytes()
        except OSError as error:
            return error

    with ThreadPoolExecutor(_AT_ONCE) as threads:
        yield from threads.map(read, places)


def readable_all(places: Sequence[Place]) -> Iterator[Path | bytes | OSError]:
    """For each place, in order, what a Parquet reader takes: the path of a file, the content of an object.

    Objects are read in parallel; for one that cannot be read, the error.
    """
    objects = read_all([place for place in places if isinstance(place, Remote)])
    for place in places:
        yield next(objects) if isinstance(place, Remote) else place


def remove_all(places: Iterable[Place]) -> None:
    """Remove files or objects that may be gone already; several are removed in parallel."""
    with ThreadPoolExecutor(_AT_ONCE) as threads:
        list(threads.map(lambda each: each.unlink(missing_ok=True), places))


def is_small(file: Place, most: int = 2**26) -> bool:
    """Whether a file that anybody may have written is plain (see `is_plain`) and has at most `most` bytes."""
    return is_plain(file) and size(file) <= most


def size(file: Place) -> int:
    """The bytes of a file, or of an object that comes from a listing."""
    return file.size if isinstance(file, Remote) else file.stat().st_size


def small(file: Place, most: int = 2**26) -> bytes | None:
    """The content of a file that anybody may have written; None if it is not small or does not exist."""
    try:
        return file.read_bytes() if is_small(file, most) else None
    except FileNotFoundError:
        return None


def attempts() -> Iterator[bool]:
    """Attempts to read files that another process may be merging: yields whether the attempt is the last."""
    for pause in _PAUSES:
        yield False
        time.sleep(pause)
    yield True
