"""The file system through which DuckDB reads an object store: the results alone, and read-only."""

import posixpath
from collections.abc import Iterable
from itertools import groupby
from typing import Any

import duckdb
from fsspec import AbstractFileSystem
from fsspec.implementations.arrow import ArrowFSWrapper

from sweep.store.places import Remote


def register(connection: duckdb.DuckDBPyConnection, prefixes: Iterable[Remote]) -> None:
    """Let a connection read the objects under some prefixes."""
    # DuckDB asks one file system for each scheme.
    in_order = sorted(prefixes, key=lambda prefix: prefix.scheme)
    for scheme, some in groupby(in_order, key=lambda prefix: prefix.scheme):
        connection.register_filesystem(_Several(scheme, [ResultsOnly(prefix) for prefix in some]))


class _ReadOnly:
    """A file system to which nothing is written."""

    def _refuse(self, path: str, *args: Any, **options: Any) -> Any:
        raise PermissionError(f"{path}: results are only read")

    mkdir = makedirs = rmdir = rm = rm_file = mv = cp_file = _refuse


class ResultsOnly(_ReadOnly, ArrowFSWrapper):
    """The objects under a prefix, read-only.

    Names with two dots are refused: DuckDB compares names as text, but the store resolves the dots.
    """

    cachable = False

    def __init__(self, prefix: Remote) -> None:
        self._results = prefix
        super().__init__(prefix.store)

    @property
    def protocol(self) -> str:
        """The URI's scheme, for which DuckDB asks this file system."""
        return self._results.scheme

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        # The wrapper's own method only knows the schemes of Amazon's and Google's stores.
        return (path.partition("://")[2] or path).rstrip("/")

    def has(self, path: str) -> bool:
        """Whether a path lies under the prefix."""
        plain = self._strip_protocol(path)
        return f"{plain}/".startswith(f"{self._results.path}/") and posixpath.normpath(plain) == plain

    def _within(self, path: str) -> str:
        if not self.has(path):
            raise FileNotFoundError(f"{path}: not among the results")
        return self._strip_protocol(path)

    def open(self, path: str, mode: str = "rb", *args: Any, **options: Any) -> Any:
        """Open an object to read it."""
        if mode != "rb":
            raise PermissionError(f"{path}: results are only read")
        return super().open(self._within(path), mode, *args, **options)

    def info(self, path: str, **options: Any) -> Any:
        """Size, type and name of an object."""
        return super().info(self._within(path), **options)

    def ls(self, path: str, detail: bool = False, **options: Any) -> Any:
        """The objects and prefixes directly under a prefix."""
        return super().ls(self._within(path), detail, **options)


class _Several(_ReadOnly, AbstractFileSystem):
    """Several prefixes of one scheme, which may lie in different stores."""

    cachable = False

    def __init__(self, scheme: str, prefixes: list[ResultsOnly]) -> None:
        self._scheme, self._prefixes = scheme, prefixes
        super().__init__()

    @property
    def protocol(self) -> str:
        """The URI's scheme, for which DuckDB asks this file system."""
        return self._scheme

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        return ResultsOnly._strip_protocol(path)

    def _of(self, path: str) -> ResultsOnly:
        """The file system of the prefix that a path lies under."""
        for prefix in self._prefixes:
            if prefix.has(path):
                return prefix
        raise FileNotFoundError(f"{path}: not among the results")

    def open(self, path: str, mode: str = "rb", *args: Any, **options: Any) -> Any:
        """Open an object to read it."""
        return self._of(path).open(path, mode, *args, **options)

    def info(self, path: str, **options: Any) -> Any:
        """Size, type and name of an object."""
        return self._of(path).info(path, **options)

    def ls(self, path: str, detail: bool = False, **options: Any) -> Any:
        """The objects and prefixes directly under a prefix."""
        return self._of(path).ls(path, detail, **options)

    def modified(self, path: str) -> Any:
        """When an object was last written."""
        return self._of(path).modified(path)
