"""Where results, states and data lie: a folder, or a prefix in an object store with as much of `Path`."""

import hashlib
import io
import os
import random
import shutil
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field, replace
from fnmatch import fnmatch
from pathlib import Path
from posixpath import basename, dirname
from typing import IO, Any, TypeVar
from urllib.parse import urlsplit

import pyarrow as pa
import pyarrow.fs as stores

from sweep.errors import BadInput
from sweep.store.object_stores import KINDS, client

T = TypeVar("T")
# Seconds for which a store that refuses, is silent or has errors is asked again.
PATIENCE = 30.0
# What asking again does not change, as the stores' libraries name it.
_FINAL = (
    *("ACCESS_DENIED", "NO_SUCH_BUCKET", "INVALID_ACCESS_KEY_ID", "SIGNATURE_DOES_NOT_MATCH", "HTTP 403"),
    *("ContainerNotFound", "AuthenticationFailed", "AuthorizationFailure", "AuthorizationPermissionMismatch"),
)
_AT_ONCE = 32  # requests under way, where many objects are read or removed
# Seconds between looks at files that are being merged: they are removed one after another.
_PAUSES = (0.05, 0.1, 0.2, 0.5, 1.0, 2.0)


class StoreError(BadInput, OSError):
    """What a store still does not do after all patience; one line, where nobody makes do without."""


@dataclass(frozen=True)
class Remote:
    """An object, or a prefix of some, in an object store. What is written is there whole or not at all.

    Every request is tried again, with growing pauses, for as long as patience lasts.

    Args:
        path: bucket and key.
        query: of the URI: options of the store, such as s3://bucket/prefix?region=eu-west-1.
        size: bytes, of an object that was found in a list.
        patience: seconds for which a request is tried again.

    Raises:
        StoreError: of all methods: the store still does not do it.
    """

    scheme: str
    path: str
    query: str = ""
    size: int = field(default=0, compare=False)
    patience: float = field(default=PATIENCE, compare=False)

    def __str__(self) -> str:
        return f"{self.scheme}://{self.path}" + (f"?{self.query}" if self.query else "")

    def __truediv__(self, name: str) -> "Remote":
        return replace(self, path=f"{self.path}/{name}")

    @property
    def name(self) -> str:
        """What comes after the last slash."""
        return basename(self.path)

    @property
    def parent(self) -> "Remote":
        """The prefix without its last name."""
        return replace(self, path=dirname(self.path))

    @property
    def store(self) -> stores.FileSystem:
        """The store as pyarrow has it; one for all of a bucket in a process."""
        return client(self.scheme, self.path.partition("/")[0], self.query)

    def read_bytes(self) -> bytes:
        """The whole object. Raises `FileNotFoundError` if there is none."""

        def read() -> bytes:
            with self.store.open_input_file(self.path) as file:
                content: bytes = file.read()
            return content

        return self._patiently(read)

    def write_bytes(self, data: bytes | memoryview) -> None:
        """Write the object in one request."""

        def write() -> None:
            with self.store.open_output_stream(self.path) as file:
                file.write(data)

        try:
            self._patiently(write)
        except FileNotFoundError:  # as Google's says it
            bucket = self.path.partition("/")[0]
            raise StoreError(f"{self.scheme}://{bucket}: the store has no such bucket") from None

    def exists(self) -> bool:
        """Whether there is such an object, or one under this prefix."""
        return bool(self._info(self.path).type != stores.FileType.NotFound)

    def is_file(self) -> bool:
        """Whether there is an object of just this name."""
        return bool(self._info(self.path).type == stores.FileType.File)

    def copy_below(self, folder: Path) -> None:
        """Copy all objects under this prefix into a folder. Raises `FileNotFoundError` if there are none."""
        found = self._info(stores.FileSelector(self.path, allow_not_found=True, recursive=True))
        if not found:
            raise FileNotFoundError(f"{self}: there is nothing")
        for each in found:  # not all stores have folders that could be copied
            (folder / each.path[len(self.path) + 1 :]).parent.mkdir(parents=True, exist_ok=True)
        self._patiently(lambda: stores.copy_files(self.path, str(folder), source_filesystem=self.store))

    def glob(self, pattern: str) -> list["Remote"]:
        """What is right under this prefix and has such a name; a folder in the pattern is looked into."""
        here, _, below = pattern.partition("/")
        found = [each for each in self.iterdir() if fnmatch(each.name, here)]
        return [deeper for each in found for deeper in each.glob(below)] if below else found

    def iterdir(self) -> list["Remote"]:
        """All that is right under this prefix."""
        # Of Google's store pyarrow lists objects only, so that folders are seen by what is in them.
        deep = self.scheme == "gs"
        sizes: dict[str, int] = {}
        for each in self._info(stores.FileSelector(self.path, allow_not_found=True, recursive=deep)):
            name, below, _ = each.path[len(self.path) + 1 :].partition("/")
            sizes[name] = 0 if below else each.size or 0
        return [replace(self, path=f"{self.path}/{name}", size=size) for name, size in sizes.items()]

    def unlink(self, missing_ok: bool = False) -> None:
        """Remove the object."""
        try:
            self._patiently(lambda: self.store.delete_file(self.path))
        except FileNotFoundError:
            if not missing_ok:
                raise

    def rmdir(self) -> None:
        """Remove the empty object that some stores leave in place of a folder; not if others are in it."""
        if self.iterdir():
            raise OSError(f"{self}: not empty")
        if self.exists():
            self._patiently(lambda: self.store.delete_dir(self.path))

    def _info(self, what: str | stores.FileSelector) -> Any:
        return self._patiently(lambda: self.store.get_file_info(what))

    def _patiently(self, request: Callable[[], T]) -> T:
        deadline, pause = time.monotonic() + self.patience, 0.25
        while True:
            try:
                return request()
            except FileNotFoundError:
                raise
            except (OSError, pa.ArrowException) as error:
                said = str(error)
                left = deadline - time.monotonic()
                # What is of Arrow's own kind, such as a key that is none, does not change either.
                final = not isinstance(error, OSError) or any(word in said for word in _FINAL)
                if left <= 0 or final:
                    raise StoreError(f"{self.scheme}://{self.path}: the store: {_short(said)}") from None
            # Not all launches and workers at the same moments.
            time.sleep(min(left, pause * random.uniform(0.5, 1)))
            pause = min(5.0, 2 * pause)


# Both have `/`, `name`, `parent`, `exists`, `read_bytes`, `glob`, `iterdir`, `unlink`, `rmdir`.
Place = Path | Remote


def place(text: str | Place) -> Place:
    """What a person means by a folder or a URI.

    Raises:
        BadInput: there is no such kind of store.
    """
    scheme, found, rest = str(text).partition("://")
    if not found:
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
    """The same place by a name that holds whatever folder a process is in."""
    where = place(text)
    return str(where.resolve() if isinstance(where, Path) else where)


def cached(kind: str, there: Place) -> Path:
    """Where this machine keeps what it has of a place in a store: of each kind a path of its own."""
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return home / "secateur" / kind / hashlib.sha256(str(there).encode()).hexdigest()[:16]


def put(target: Place, fill: Callable[[IO[bytes]], object], sync: bool = True) -> None:
    """Write a file or an object, that appears under its name whole or not at all.

    Args:
        fill: writes the content.
        sync: wait until it is on the disk itself.

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
        # A new file: never one that is there, nor one that a link leads to.
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
    """Copy an object, or all under a prefix, to a file or a folder that appears there whole or not at all.

    Raises:
        OSError: there is nothing, or the store or the disk refused.
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
    """What is at each, in order; of a store many at once."""

    def read(each: Place) -> bytes | OSError:
        try:
            return each.read_bytes()
        except OSError as error:
            return error

    with ThreadPoolExecutor(_AT_ONCE) as threads:
        yield from threads.map(read, places)


def remove_all(places: Iterable[Place]) -> None:
    """Remove files or objects, if they are there; of a store many at once."""
    with ThreadPoolExecutor(_AT_ONCE) as threads:
        list(threads.map(lambda each: each.unlink(missing_ok=True), places))


def is_small(file: Place, most: int = 2**26) -> bool:
    """Whether what anybody may have put there is a plain file of no more than so many bytes.

    A pipe would be waited for, and a device never ends.
    """
    if isinstance(file, Remote):
        return file.size <= most
    return file.is_file() and file.stat().st_size <= most


def small(file: Place, most: int = 2**26) -> bytes | None:
    """The content of a file that anybody may have put there; None if it is not small, or not there."""
    try:
        return file.read_bytes() if is_small(file, most) else None
    except FileNotFoundError:
        return None


def looks() -> Iterator[bool]:
    """Turns to read files that another process may just be merging into one; whether it is the last."""
    for pause in _PAUSES:
        yield False
        time.sleep(pause)
    yield True


def _short(said: str) -> str:
    """Where a store's library says why: Azure's after these words, others' at the end."""
    plain = " ".join(said.split())
    return plain.partition("Azure Error: ")[2][:300] or plain[-300:]
