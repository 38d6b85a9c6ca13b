"""Objects and prefixes in an object store, with the methods of `Path`, and requests that are retried."""

import io
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from fnmatch import fnmatch
from pathlib import Path
from posixpath import basename, dirname
from typing import IO, Any, Literal, TypeVar

import pyarrow as pa
import pyarrow.fs as stores

from sweep.errors import StoreError
from sweep.store.object_stores import client

T = TypeVar("T")
# Seconds for which a failed request to a store is retried.
PATIENCE = 30.0
# Errors that a retry does not change, by the names that the stores' libraries give them.
_FINAL = (
    "ACCESS_DENIED",
    "NO_SUCH_BUCKET",
    "INVALID_ACCESS_KEY_ID",
    "SIGNATURE_DOES_NOT_MATCH",
    "HTTP 403",
    "ContainerNotFound",
    "AuthenticationFailed",
    "AuthorizationFailure",
    "AuthorizationPermissionMismatch",
)


@dataclass(frozen=True)
class Remote:
    """An object in an object store, or the prefix of several; an object is written as a whole or not at all.

    Failed requests are retried with growing pauses until `patience` runs out. Every method that sends one can
    raise `StoreError`.

    Args:
        path: bucket and key.
        query: of the URI: options of the store, such as s3://bucket/prefix?region=eu-west-1.
        size: bytes of the object; known only if the object comes from a listing.
        patience: seconds for which a failed request is retried.
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
        """The text after the last slash."""
        return basename(self.path)

    @property
    def parent(self) -> "Remote":
        """The prefix that this object or prefix is in."""
        return replace(self, path=dirname(self.path))

    @property
    def store(self) -> stores.FileSystem:
        """pyarrow's client for the bucket; a process has one for each bucket."""
        return client(self.scheme, self.path.partition("/")[0], self.query)

    def resolve(self) -> "Remote":
        """The same place: a URI is absolute."""
        return self

    def read_bytes(self) -> bytes:
        """The content of the object. Raises `FileNotFoundError` if the object does not exist."""

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
        except FileNotFoundError:  # Google's error for a missing bucket
            bucket = self.path.partition("/")[0]
            raise StoreError(f"{self.scheme}://{bucket}: the store has no such bucket") from None

    def open(self, mode: Literal["rb"] = "rb") -> IO[bytes]:
        """The object as a file in memory. Raises `FileNotFoundError` if the object does not exist."""
        return io.BytesIO(self.read_bytes())

    def open_in_place(self) -> pa.NativeFile:
        """The object as a file of which each read is a request; a read that fails is not retried."""
        return self.store.open_input_file(self.path)

    def exists(self) -> bool:
        """Whether the object exists, or any object under this prefix."""
        return bool(self._info(self.path).type != stores.FileType.NotFound)

    def is_file(self) -> bool:
        """Whether an object of exactly this name exists."""
        return bool(self._info(self.path).type == stores.FileType.File)

    def is_dir(self) -> bool:
        """Whether any object exists under this prefix, or of this name: object stores have no folders."""
        return self.exists()

    def copy_below(self, folder: Path) -> None:
        """Copy all objects under this prefix into a folder. Raises `FileNotFoundError` if there are none."""
        objects = self._info(stores.FileSelector(self.path, allow_not_found=True, recursive=True))
        if not objects:
            raise FileNotFoundError(f"{self}: there is nothing")
        for each in objects:  # not every store lists folders, so that pyarrow would create them
            (folder / each.path[len(self.path) + 1 :]).parent.mkdir(parents=True, exist_ok=True)
        self._patiently(lambda: stores.copy_files(self.path, str(folder), source_filesystem=self.store))

    def glob(self, pattern: str) -> list["Remote"]:
        """Objects and prefixes under this one that match the pattern, level by level as for `Path.glob`."""
        first, _, below = pattern.partition("/")
        matches = [each for each in self.iterdir() if fnmatch(each.name, first)]
        return [deeper for each in matches for deeper in each.glob(below)] if below else matches

    def iterdir(self) -> list["Remote"]:
        """Objects and prefixes directly under this prefix."""
        # At Google's store pyarrow lists no prefixes, only objects: prefixes are found by listing all levels.
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
        """Remove the empty object that some stores keep for a folder. Raises `OSError` if it is not empty."""
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
                message = str(error)
                remaining = deadline - time.monotonic()
                # Arrow's own errors, such as an invalid key, do not change with a retry either.
                final = not isinstance(error, OSError) or any(word in message for word in _FINAL)
                if remaining <= 0 or final:
                    raise StoreError(f"{self.scheme}://{self.path}: the store: {_short(message)}") from None
            # Random, so that launches and workers do not all retry at the same moment.
            time.sleep(min(remaining, pause * random.uniform(0.5, 1)))
            pause = min(5.0, 2 * pause)


def _short(message: str) -> str:
    """The reason in a store library's message: in Azure's after these words, in others at the end."""
    plain = " ".join(message.split())
    return plain.partition("Azure Error: ")[2][:300] or plain[-300:]
