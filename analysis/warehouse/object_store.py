"""The file system through which DuckDB reads an object store: the results alone, and read-only."""

import posixpath
from typing import Any

from fsspec.implementations.arrow import ArrowFSWrapper

from sweep.store.places import Remote


class ResultsOnly(ArrowFSWrapper):
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

    def _within(self, path: str) -> str:
        plain = self._strip_protocol(path)
        below = f"{plain}/".startswith(f"{self._results.path}/")
        if not below or posixpath.normpath(plain) != plain:
            raise FileNotFoundError(f"{path}: not among the results")
        return plain

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

    def _refuse(self, path: str, *args: Any, **options: Any) -> Any:
        raise PermissionError(f"{path}: results are only read")

    mkdir = makedirs = rmdir = rm = rm_file = mv = cp_file = _refuse
