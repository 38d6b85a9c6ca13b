"""A study as YAML: its values with where they stand; each mistake is one line of text that says where."""

import io
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from sweep.errors import BadInput
from sweep.study.fields import Values

# The largest study file, in bytes. A larger file is no study, as spans stand for long lists.
_MOST_BYTES = 1 << 20
# The most values of a span such as 0..36999.
_MOST_VALUES = 100_000
_SPAN, _BASE_60 = re.compile(r"([0-9]{1,19})\.\.([0-9]{1,19})"), re.compile("[0-9]+(:[0-9]+)+")
# The most letters of the file that an error quotes.
_MOST_QUOTED = 60
# The most mappings that one mapping merges with `<<`.
_MOST_MERGED = 100
# A value of the command line stands at this and its argument: `--set epochs=160`.
SET = "--set "
# So does a value of Python: `sweep.Study(epochs=160)`.
GIVEN = "sweep.Study("
_EXAMPLE = "name a study file, or one that comes along, such as quickstart"
_TAG = "tag:yaml.org,2002:"
# How each kind of YAML scalar is read. Dates and bytes are missing, as no field has them. In YAML 1.1 numbers
# can be octal (010) or to base 60 (1:30): `int(…, 0)` and `float` refuse these.
_READERS: dict[str, Callable[[str], object]] = {
    f"{_TAG}null": lambda text: None,
    f"{_TAG}bool": lambda text: yaml.SafeLoader.bool_values[text.lower()],
    f"{_TAG}int": lambda text: int(text.replace("_", ""), 0),
    f"{_TAG}float": lambda text: float(re.sub(r"\.(?=inf|nan)", "", text.replace("_", "").lower())),
    f"{_TAG}str": lambda text: text.encode().decode(),  # refuses half of a surrogate pair (\\uD800)
}
_NUMBERS = (f"{_TAG}int", f"{_TAG}float")
_MERGE = f"{_TAG}merge"
# Field, reference, folder from which the reference goes → name of the part or the weights, or the recipe.
ResolveFrom = Callable[[str, str, Path], Any]


class Item(NamedTuple):
    """A value of a study, and its origin: `FILE:LINE`, or the argument of the command line."""

    value: Any
    origin: str


class Document:
    """The text of a study file, of standard input or of an argument, and the values of its nodes.

    Each error is a `BadInput`: one line with the file and the line, or the argument, and what to correct.

    YAML's aliases let a node contain itself, or another node very often. Therefore no method reads deeper
    than a study is nested.

    Attributes:
        name: of the file, or what else errors name.
        text: the content of the file.
        resolve: gives what a field names by a reference; None: there are no references.

    Raises:
        BadInput: the content is too large, or is not text in UTF-8.
    """

    def __init__(self, name: str, content: bytes) -> None:
        self.name = name
        self.resolve: ResolveFrom | None = None
        if len(content) > _MOST_BYTES:
            size = f"over {_MOST_BYTES >> 20} MiB"
            raise self.error(self.at(), f"{size}: {_EXAMPLE}; a span such as 0..999 stands for a long list")
        try:
            self.text = io.StringIO(content.decode(), newline=None).read()
        except UnicodeDecodeError as error:
            line = content.count(b"\n", 0, error.start) + 1
            raise self.error(self.at(line), f"not a text file in UTF-8: {_EXAMPLE}") from None

    @classmethod
    def of_file(cls, path: Path) -> "Document":
        """The document of a file.

        Raises:
            BadInput: the file cannot be read.
        """
        try:
            with path.open("rb") as file:
                return cls(str(path), file.read(_MOST_BYTES + 1))
        except OSError as error:
            raise BadInput(f"{path}: {error.strerror}: {_EXAMPLE}") from None

    @classmethod
    def of_standard_input(cls) -> "Document":
        """The document that another program writes to this one."""
        return cls("standard input", sys.stdin.buffer.read(_MOST_BYTES + 1))

    def at(self, line: int = 1) -> str:
        """The origin of a line, counted from 1."""
        return _origin(self.name, line)

    @staticmethod
    def error(origin: str, message: str) -> BadInput:
        """The error that names an origin; letters that cannot be printed are escaped."""
        return BadInput(printable(f"{origin}: {message}"))

    def root(self) -> yaml.Node | None:
        """The node of the complete file; None: the file is empty."""
        loader = None
        try:
            loader = yaml.SafeLoader(self.text)
            loader.name = self.name  # every node knows its file by it
            return loader.get_single_node()
        except yaml.reader.ReaderError as error:
            line = self.text.count("\n", 0, error.position) + 1
            raise self.error(self.at(line), f"not YAML: {error.reason}") from None
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            line = mark.line + 1 if mark else 1
            raise self.error(self.at(line), f"not YAML: {quoted(str(error.problem))}") from None
        except RecursionError:
            raise self.error(self.at(), "not a study: nested too deeply") from None
        except (ValueError, OverflowError):  # a letter (\U) or a version (%YAML) of too large a number
            assert loader is not None
            raise self.error(self.at(loader.line + 1), "not YAML: a number that is too large") from None

    def mapping(
        self,
        node: yaml.Node,
        name: str,
        keys: Sequence[str],
        dotted: Sequence[str] = (),
        also: Callable[[str], bool] | None = None,
    ) -> dict[str, yaml.Node]:
        """The nodes of a mapping by key, with those that it merges by `<<`.

        Args:
            name: of the mapping, for errors.
            keys: that the mapping may have.
            dotted: keys that it may also have with a dot and any word behind, as in `model.width`.
            also: says of another key whether the mapping may have it.
        """
        if not isinstance(node, yaml.MappingNode):
            raise self.error(
                origin_of(node), f"{name} is a mapping of fields to values, as in 'sparsity: [0.9, 0.99]'"
            )
        nodes: dict[str, yaml.Node] = {}
        for pairs in self._merged(node):
            own: dict[str, yaml.Node] = {}
            for key_node, value in pairs:
                key = key_node.value if isinstance(key_node, yaml.ScalarNode) else ""
                known = key in keys or (key.partition(".")[0] in dotted and "." in key)
                if not known and not (also and also(key)):
                    hint = nearest(key, keys)
                    raise self.error(origin_of(key_node), f"unknown key {quoted(key)!r} in {name}; {hint}")
                if key in own:
                    raise self.error(origin_of(key_node), f"{key} is given twice")
                own[key] = value
            nodes |= {key: value for key, value in own.items() if key not in nodes}
        return nodes

    def _merged(self, node: yaml.MappingNode) -> Iterator[list[tuple[yaml.Node, yaml.Node]]]:
        """The pairs of a mapping, then those of each mapping that it merges, the first of equal keys first.

        A mapping that merges itself is no harm, as each mapping is read once.
        """
        left: list[yaml.Node] = [node]
        seen: set[int] = set()
        while left:
            mapping = left.pop()
            if not isinstance(mapping, yaml.MappingNode):
                raise self.error(
                    origin_of(mapping), "<<: a mapping belongs here, such as *name, or a list of them"
                )
            if id(mapping) in seen:
                continue
            seen.add(id(mapping))
            if len(seen) > _MOST_MERGED:
                raise self.error(origin_of(node), f"<<: it merges more than {_MOST_MERGED} mappings")
            yield [pair for pair in mapping.value if pair[0].tag != _MERGE]
            merges = [value for key, value in mapping.value if key.tag == _MERGE]
            for value in reversed(merges):
                left += reversed(listed(value))

    def value(self, name: str, node: yaml.Node, values: Values) -> Any:
        """The value of a field that has one value, not a list."""
        if isinstance(node, yaml.SequenceNode):
            raise self.error(origin_of(node), f"{name}: one value belongs here, not a list")
        [item] = self.axis(name, node, values, most=1)
        return item.value

    def values(self, name: str, node: yaml.Node, values: Values) -> list[Any]:
        """The values of a field that has one value or a list of values."""
        return [item.value for item in self.axis(name, node, values)]

    def axis(self, name: str, node: yaml.Node, values: Values, most: int = _MOST_VALUES) -> list[Item]:
        """The values of a field that has one value or a list of values, each with its line.

        Args:
            name: of the field.
            values: that the field takes.
            most: how many values are allowed.
        """
        if (count := self.count(name, node, values)) > most:
            raise self.error(origin_of(node), f"{name}: {count:,} values, where at most {most:,} belong")
        items: list[Item] = []
        for scalar in self._scalars(name, node, values):
            at = origin_of(scalar)
            if numbers := self._span(name, scalar, values):
                for end in (numbers[0], numbers[-1]):  # a field takes an interval: its ends suffice
                    self._checked(name, end, scalar, values)
                items += [Item(value, at) for value in numbers]
            else:
                items.append(Item(self._checked(name, self._read(name, scalar, values), scalar, values), at))
        return items

    def count(self, name: str, node: yaml.Node, values: Values) -> int:
        """How many values a field has, counted without a list of them."""
        return sum(len(self._span(name, each, values) or "1") for each in self._scalars(name, node, values))

    def _scalars(self, name: str, node: yaml.Node, values: Values) -> Iterator[yaml.ScalarNode]:
        if isinstance(node, yaml.SequenceNode) and not node.value:
            raise self.error(origin_of(node), f"{name}: an empty list asks for no trials")
        for scalar in listed(node):
            if values.pairs and isinstance(scalar, yaml.MappingNode):
                scalar = _pairs(scalar)
            if not isinstance(scalar, yaml.ScalarNode):
                raise self.error(origin_of(scalar), f"{name}: a value or a list of values, nothing nested")
            yield scalar

    def _span(self, name: str, node: yaml.ScalarNode, values: Values) -> range | None:
        """The values that `first..last` stands for; None: the scalar is not a span."""
        if int not in values.types or not _SPAN.fullmatch(node.value):
            return None
        numbers = span(node.value)
        if numbers is None:
            raise self.error(
                origin_of(node), f"{name} {node.value}: first..last, rising, at most {_MOST_VALUES:,} values"
            )
        return numbers

    def _read(self, name: str, node: yaml.ScalarNode, values: Values) -> object:
        try:
            if _BASE_60.fullmatch(node.value) and values.types == {str}:
                return node.value  # as 2:4, where a field takes text alone
            return _READERS[node.tag](node.value)
        except (KeyError, ValueError):
            kind = "a number: decimal digits, no leading zeros" if node.tag in _NUMBERS else "a value"
            raise self.error(
                origin_of(node), f"{name} {quoted(node.value)}: cannot be read as {kind}"
            ) from None

    def _checked(self, name: str, value: object, node: yaml.ScalarNode, values: Values) -> Any:
        resolve = self.resolve
        named = (lambda field, text: resolve(field, text, _folder(node))) if resolve else None
        try:
            return values.check(value, node.value, named)
        except ValueError as error:
            raise self.error(origin_of(node), f"{name} {quoted(node.value)}: {error}") from None


def origin_of(node: yaml.Node) -> str:
    """Where a node begins: `FILE:LINE`, or the argument that it is of."""
    return _origin(node.start_mark.name, node.start_mark.line + 1)


def _origin(name: str, line: int) -> str:
    return name if name.startswith((SET, GIVEN)) else f"{name}:{line}"


def _folder(node: yaml.Node) -> Path:
    """The folder from which references in a node go: that of its file, else the current one."""
    name = node.start_mark.name
    return Path() if name.startswith((SET, GIVEN)) else Path(name).parent


def listed(node: yaml.Node) -> list[yaml.Node]:
    """The nodes of a list; one that is no list is alone."""
    return list(node.value) if isinstance(node, yaml.SequenceNode) else [node]


def _pairs(node: yaml.MappingNode) -> yaml.Node:
    """The text that a mapping of words to values stands for; a mapping of anything else remains one."""
    plain = all(isinstance(each, yaml.ScalarNode) for pair in node.value for each in pair)
    text = " ".join(f"{key.value}={value.value}" for key, value in node.value)
    return yaml.ScalarNode(f"{_TAG}str", text, node.start_mark, node.end_mark) if plain else node


def span(text: str) -> range | None:
    """The numbers that `first..last` stands for; None: the text is no span, falls, or is too long."""
    if not (match := _SPAN.fullmatch(text)):
        return None
    first, last = map(int, match.groups())
    return range(first, last + 1) if first <= last < first + _MOST_VALUES else None


def nearest(name: str, known: Sequence[str]) -> str:
    """The hint that an error about an unknown name ends with."""
    near = get_close_matches(name, known, n=1, cutoff=0.5)
    return f"did you mean {near[0]}?" if near else f"known: {', '.join(known)}"


def printable(text: str) -> str:
    """A text in which letters that cannot be printed are escaped."""
    return "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in text)


def quoted(text: str) -> str:
    """Text of the file for an error, cut after 60 letters."""
    return text if len(text) <= _MOST_QUOTED else f"{text[:_MOST_QUOTED]}..."


def is_file(path: Path) -> bool:
    """Whether there is a file; a name that no file can have names none."""
    try:
        return path.is_file()
    except OSError:
        return False
