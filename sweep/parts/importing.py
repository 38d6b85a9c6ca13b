"""Imports the code of a part from the texts that were read at the launch, not from what lies on disk now.

The modules of a part are imported under a package whose name is a digest of the texts. So two versions of one
file are two modules, in one process too.
"""

import ast
import importlib
import sys
from collections.abc import Sequence
from importlib.abc import InspectLoader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import spec_from_loader
from types import CodeType, ModuleType
from typing import Any

from sweep.parts.source import Module, Source, parse

_PREFIX = "_part_"
_SOURCES: dict[str, Source] = {}


def module(source: Source) -> ModuleType:
    """The module that has the object of a part.

    Raises:
        Exception: whatever its code raises while it is imported.
    """
    package = _PREFIX + source.digest
    _SOURCES[package] = source
    return importlib.import_module(f"{package}.{source.module}")


def load(source: Source) -> Any:
    """The object that a part is.

    Raises:
        Exception: whatever its code raises while it is imported; `AttributeError` if the code defines no
            such object.
    """
    return getattr(module(source), source.name)


class _Finder(MetaPathFinder):
    """Finds the modules of the sources that were loaded."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """The module of a part; None: it is no part's."""
        package, _, name = fullname.partition(".")
        source = _SOURCES.get(package)
        if not source:
            return None
        modules = {each.name: each for each in source.modules}
        inside = f"{name}." if name else ""
        is_package = any(each.startswith(inside) for each in modules)
        found = modules.get(name) or (Module(name, "", "", package=True) if is_package else None)
        if not found:
            return None
        loader = _Loader(found, package, frozenset(each.partition(".")[0] for each in modules))
        spec = spec_from_loader(fullname, loader, is_package=found.package or is_package)
        if spec and found.path:
            spec.origin, spec.has_location = found.path, True
        return spec


sys.meta_path.insert(0, _Finder())


class _Loader(InspectLoader):
    """Runs the text of one module."""

    def __init__(self, module: Module, package: str, own: frozenset[str]) -> None:
        self._module, self._package, self._own = module, package, own

    def is_package(self, fullname: str) -> bool:
        """Whether other modules are in it."""
        return self._module.package

    def get_source(self, fullname: str) -> str:
        """The text, which tracebacks show."""
        return self._module.text

    def get_code(self, fullname: str) -> CodeType:
        """The text compiled, with imports of the part's own modules turned to its package."""
        tree = _Turned(self._package, self._own).visit(parse(self._module.text, self._module.path))
        return compile(ast.fix_missing_locations(tree), self._module.path or "<package>", "exec")


class _Turned(ast.NodeTransformer):
    """Turns absolute imports of a part's own modules to the package that holds them."""

    def __init__(self, package: str, own: frozenset[str]) -> None:
        self._package, self._own = package, own

    def _is_own(self, name: str | None) -> bool:
        return (name or "").partition(".")[0] in self._own

    def visit_ImportFrom(self, node: ast.ImportFrom) -> ast.AST:
        """`from helpers import f`."""
        if not node.level and self._is_own(node.module):
            node.module = f"{self._package}.{node.module}"
        return node

    def visit_Import(self, node: ast.Import) -> list[ast.stmt]:
        """`import helpers`, `import tools.shapes`, `import tools.shapes as shapes`."""
        turned: list[ast.stmt] = []
        for alias in node.names:
            if self._is_own(alias.name):
                top = alias.name if alias.asname else alias.name.partition(".")[0]
                turned.append(ast.Import([ast.alias(f"{self._package}.{alias.name}")]))
                turned.append(ast.Import([ast.alias(f"{self._package}.{top}", alias.asname or top)]))
            else:
                turned.append(ast.Import([alias]))
        # `import _part_….helpers` alone would bind the package's name; nothing reads it.
        return [ast.copy_location(each, node) for each in turned]


def installed(module: str, name: str) -> Any:
    """An object of an installed module."""
    return getattr(importlib.import_module(module), name)
