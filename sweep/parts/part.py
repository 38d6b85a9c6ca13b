"""A part of one's own: a criterion, rule, network, data set, … that a study names by where its code is.

Until a trial needs it, a part is what can be read in its source: nothing imports it. Its name in a config is
the reference and the code that it is of: `myscores.py:half_gradient@3f2a91bc44d0`.
"""

import re
import sysconfig
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from importlib.machinery import PathFinder
from importlib.metadata import PackageNotFoundError, entry_points, packages_distributions, version
from pathlib import Path
from typing import Any, TypeVar

from sweep.errors import BadInput
from sweep.parts import importing, source
from sweep.parts.bad_part import BadPart
from sweep.parts.definition import read
from sweep.parts.kinds import BY_FIELD
from sweep.parts.signature import Arguments, Parameter, of_function
from sweep.parts.source import Source

T = TypeVar("T")

# A reference: a file or an installed module, and the name of an object in it.
_REFERENCE = re.compile(r"(?P<home>[^:@\x00-\x1f]+):(?P<name>[^\W\d]\w*)")
# The name of a part in a config.
_NAME = re.compile(r"(?P<label>[^@\x00-\x20]+)@(?P<code>[\w.+!-]{1,64})")


@dataclass(frozen=True)
class Part:
    """A part of one's own, as far as it can be read without running it.

    Attributes:
        kind: what it is, of `KINDS`.
        label: the reference, without folders.
        code: which code it is of: the fingerprint of its source, the version that its decorator says, or
            the version of the installed package that it is in.
        inputs: names of what the trial gives it; None: that cannot be read.
        parameters: what a study can set.
        options: what its decorator says.
        source: its files; None: it is in an installed package, or not here.
        module, package: where it is installed, and the name and version of that package; None: it is not.
        at: file and line of its definition.
        reference: by which any study can name it: of a file, with its complete path.
    """

    kind: str
    label: str
    code: str
    inputs: tuple[str, ...] | None = None
    parameters: tuple[Parameter, ...] = ()
    options: tuple[tuple[str, Any], ...] = ()
    source: Source | None = None
    module: str | None = None
    package: tuple[str, str] | None = None
    at: str = ""
    reference: str = ""

    @property
    def name(self) -> str:
        """Its name in a config."""
        return f"{self.label}@{self.code}"

    @property
    def short(self) -> str:
        """The name of the object."""
        return self.label.rpartition(":")[2]

    @property
    def here(self) -> bool:
        """Whether its code is here."""
        return bool(self.source or self.module)

    def option(self, name: str, default: Any = None) -> Any:
        """What its decorator says of something."""
        return dict(self.options).get(name, default)

    def load(self) -> Any:
        """The object itself. Its module is imported the first time.

        Raises:
            BadInput: the code is not here.
            Exception: whatever its code raises.
        """
        if self.source:
            return importing.load(self.source)
        if not self.module:
            raise BadInput(f"{self.label}: its code is not here: put it beside the study file")
        if self.package and version(self.package[0]) != self.package[1]:
            raise BadInput(
                f"{self.label}: {self.package[0]} is not {self.package[1]} here: install that version"
            )
        return importing.installed(self.module, self.short)

    def __call__(self, *inputs: Any, **parameters: Any) -> Any:
        """Call the object, and check what it gives.

        Raises:
            BadPart: the answer is not of its kind, or the call has changed a setting of the process.
            Exception: whatever its code raises.
        """
        from sweep.parts import guard  # it imports torch, which a study and its analysis need not

        return guard.call(self, inputs, parameters)


# Name → part, of every part that a study of this process names, or that a launch has sent here.
_KNOWN: dict[str, Part] = {}


def register(parts: Iterable[Part]) -> None:
    """Make parts known to this process."""
    _KNOWN.update((part.name, part) for part in parts)


def find(name: str) -> Part | None:
    """The part that a config names; None: this process knows of no such part."""
    return _KNOWN.get(name)


def need(name: str) -> Part:
    """The part that a config names.

    Raises:
        BadInput: this process knows of no such part.
    """
    part = find(name)
    if not part:
        raise BadInput(f"{name}: its code is not here: launch the study that names it")
    return part


def made(kind: Callable[..., T], part: Part, *fields: Any) -> T:
    """An entry of a table for a part, with what its decorator says.

    Raises:
        BadPart: its decorator says something that such an entry does not have.
    """
    try:
        return kind(*fields, **dict(part.options))
    except (TypeError, ValueError) as error:
        raise BadPart(part, f"its decorator: {error}") from None


def entry(table: Mapping[str, T], name: str, kind: Callable[..., T]) -> T:
    """The entry of a table; for the name of a part an entry of the kind, made of the part.

    Raises:
        BadInput: the table has no such entry, and this process knows of no such part.
    """
    if name in table:
        return table[name]
    part = need(name)
    return made(kind, part, part)


def bind(function: Callable[..., Any], arguments: Arguments) -> Callable[..., Any]:
    """A part, or a built-in function, with the parameters that a config gives it."""
    return partial(function, **values(function, arguments)) if arguments else function


def values(function: Callable[..., Any], arguments: Arguments) -> dict[str, Any]:
    """The parameters that a config gives a part, or a built-in function, as the function takes them."""
    if not arguments:
        return {}
    takes = function.parameters if isinstance(function, Part) else of_function(function)
    known = {parameter.name: parameter for parameter in takes}
    return {name: known[name].coerced(value) for name, value in arguments}


def is_name(text: str) -> bool:
    """Whether a text has the form of a part's name in a config."""
    return bool(_NAME.fullmatch(text))


class Missing(BadInput):
    """The code of a part is not here."""


def declare(field: str, reference: str, folder: Path) -> Part:
    """Read the part that a study names, and make it known to this process.

    Args:
        field: of the config that names it.
        reference: as the study writes it.
        folder: of the study file.

    Raises:
        Missing: there is no such file or module.
        BadInput: it is no such part; the message names the file and the line.
    """
    if is_name(reference) and (known := find(reference)):
        return known
    bare = ":" not in reference
    match = _REFERENCE.fullmatch((offered(field, reference) or "") if bare else reference)
    if not match:
        raise BadInput(f"{reference}: no reference: write FILE.py:NAME or PACKAGE.MODULE:NAME")
    home, name = match["home"], match["name"]
    part = (_from_file if home.endswith(".py") else _from_module)(field, home, name, folder)
    where = str((folder / home).resolve()) if home.endswith(".py") else home
    part = replace(part, label=label(reference), reference=reference if bare else f"{where}:{name}")
    register([part])
    return part


def label(reference: str) -> str:
    """The label of the part that a study means by a reference: the reference without folders."""
    home, colon, name = reference.partition(":")
    return f"{Path(home).name if home.endswith('.py') else home}{colon}{name}"


def offered(field: str, name: str) -> str | None:
    """The reference that an installed package offers under a bare name; None: no package does."""
    for kind in BY_FIELD[field]:
        for entry in entry_points(group=f"secateur.{kind.group}", name=name):
            return entry.value
    return None


def is_reference(field: str, text: str) -> bool:
    """Whether a study can mean a part by a text: a file's, a module's, or a name that a package offers."""
    return bool(_REFERENCE.fullmatch(text) or find(text) or (":" not in text and offered(field, text)))


def _from_file(field: str, home: str, name: str, folder: Path) -> Part:
    path = folder / home
    if not path.is_file():
        raise Missing(f"there is no file {path}; it is looked for from the study file's folder")
    if any(letter in path.stem for letter in " .@"):
        raise BadInput(f"{path}: a file of parts has no space, no dot and no @ in its name: rename it")
    return _of_source(field, path.parent, path.stem, name)


def _of_source(field: str, root: Path, module: str, name: str) -> Part:
    """A part whose source travels with a launch. Its label is not known yet."""
    said = read(field, root, module, name)
    found = source.collect(root, module, name)
    code = said.version or found.fingerprint
    return Part(said.kind, name, code, said.inputs, said.parameters, said.options, found, at=said.at)


def _from_module(field: str, home: str, name: str, folder: Path) -> Part:
    """A part of an installed package, or of a package in the study file's folder or on Python's path."""
    top = home.partition(".")[0]
    root = folder if source.find(folder, home) else _root(top)
    found = source.find(root, home) if root else None
    if not root or not found:
        raise Missing(f"there is no module {home}: install it, or put it beside the study file")
    package = _package(top) if _is_installed(found[0]) else None
    if not package:
        return _of_source(field, root, home, name)
    said = read(field, root, home, name)
    code = said.version or package[1]
    return Part(
        said.kind,
        name,
        code,
        said.inputs,
        said.parameters,
        said.options,
        module=home,
        package=package,
        at=said.at,
    )


def _root(top: str) -> Path | None:
    """The folder that has a package, as Python would find it; nothing is imported."""
    found = PathFinder.find_spec(top)
    if not found:
        return None
    places = [*(found.submodule_search_locations or ()), *([found.origin] if found.origin else [])]
    return Path(places[0]).parent if places else None


def _is_installed(path: Path) -> bool:
    homes = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
    return any(path.is_relative_to(home) for home in homes)


def _package(top: str) -> tuple[str, str] | None:
    """The name and version of the package that a module comes with."""
    names = packages_distributions().get(top)
    try:
        return (names[0], version(names[0])) if names else None
    except PackageNotFoundError:
        return None
