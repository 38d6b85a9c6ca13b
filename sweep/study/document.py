"""A study file as YAML: its values with their lines; each mistake is one line of text with its place."""

import io
import re
from collections.abc import Callable, Iterator, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from sweep.errors import BadInput
from sweep.study.fields import NameOfPart, Values

# The largest study file, in bytes. A larger file is no study, as spans stand for long lists.
_MOST_BYTES = 1 << 20
# The most values of a span such as 0..36999.
_MOST_VALUES = 100_000
_SPAN = re.compile(r"([0-9]{1,19})\.\.([0-9]{1,19})")
# The most letters of the file that an error quotes.
_MOST_QUOTED = 60
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


class Item(NamedTuple):
    """A value of the file, and its line, counted from 1."""

    value: Any
    line: int


class Document:
    """A study file. Each error is a `BadInput`: one line with the file, the line number and what to correct.

    YAML's aliases let a node contain itself, or another node very often. Therefore no method reads deeper
    than a study is nested.

    Attributes:
        path: of the file.
        text: the content of the file.
        name_of_part: gives the name of the part that a field names by a reference; None: there are none.

    Raises:
        BadInput: the file cannot be read, is too large, or is not text in UTF-8.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.name_of_part: NameOfPart | None = None
        example = "name a study file, such as studies/quickstart.yaml"
        try:
            with path.open("rb") as file:
                content = file.read(_MOST_BYTES + 1)
        except OSError as error:
            raise BadInput(f"{path}: {error.strerror}: {example}") from None
        if len(content) > _MOST_BYTES:
            size = f"over {_MOST_BYTES >> 20} MiB"
            raise self.error(1, f"{size}: {example}; a span such as 0..999 stands for a long list")
        try:
            self.text = io.StringIO(content.decode(), newline=None).read()
        except UnicodeDecodeError as error:
            line = content.count(b"\n", 0, error.start) + 1
            raise self.error(line, f"not a text file in UTF-8: {example}") from None

    def error(self, line: int, message: str) -> BadInput:
        """The error that names the file and a line; letters that cannot be printed are escaped."""
        text = f"{self.path}:{line}: {message}"
        return BadInput("".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in text))

    def root(self) -> yaml.Node | None:
        """The node of the complete file; None: the file is empty."""
        loader = None
        try:
            loader = yaml.SafeLoader(self.text)
            return loader.get_single_node()
        except yaml.reader.ReaderError as error:
            line = self.text.count("\n", 0, error.position) + 1
            raise self.error(line, f"not YAML: {error.reason}") from None
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            line = mark.line + 1 if mark else 1
            raise self.error(line, f"not YAML: {quoted(str(error.problem))}") from None
        except RecursionError:
            raise self.error(1, "not a study: nested too deeply") from None
        except (ValueError, OverflowError):  # a letter (\U) or a version (%YAML) of too large a number
            assert loader is not None
            raise self.error(loader.line + 1, "not YAML: a number that is too large") from None

    def mapping(
        self, node: yaml.Node, name: str, keys: Sequence[str], dotted: Sequence[str] = ()
    ) -> dict[str, yaml.Node]:
        """The nodes of a mapping by key.

        Args:
            name: of the mapping, for errors.
            keys: that the mapping may have.
            dotted: keys that it may also have with a dot and any word behind, as in `model.width`.
        """
        if not isinstance(node, yaml.MappingNode):
            raise self.error(
                line_of(node), f"{name} is a mapping of fields to values, as in 'sparsity: [0.9, 0.99]'"
            )
        nodes: dict[str, yaml.Node] = {}
        for key_node, value in node.value:
            key = key_node.value if isinstance(key_node, yaml.ScalarNode) else ""
            if key not in keys and not (key.partition(".")[0] in dotted and "." in key):
                near = get_close_matches(key, keys, n=1, cutoff=0.5)
                hint = f"did you mean {near[0]}?" if near else f"known: {', '.join(keys)}"
                raise self.error(line_of(key_node), f"unknown key {quoted(key)!r} in {name}; {hint}")
            if key in nodes:
                raise self.error(line_of(key_node), f"{key} is given twice")
            nodes[key] = value
        return nodes

    def value(self, name: str, node: yaml.Node, values: Values) -> Any:
        """The value of a field that has one value, not a list."""
        if isinstance(node, yaml.SequenceNode):
            raise self.error(line_of(node), f"{name}: one value belongs here, not a list")
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
            raise self.error(line_of(node), f"{name}: {count:,} values, where at most {most:,} belong")
        items: list[Item] = []
        for scalar in self._scalars(name, node):
            line = line_of(scalar)
            if span := self._span(name, scalar, values):
                for end in (span[0], span[-1]):  # a field takes an interval: its ends suffice
                    self._checked(name, end, scalar, values)
                items += [Item(value, line) for value in span]
            else:
                items.append(Item(self._checked(name, self._read(name, scalar), scalar, values), line))
        return items

    def count(self, name: str, node: yaml.Node, values: Values) -> int:
        """How many values a field has, counted without a list of them."""
        return sum(len(self._span(name, scalar, values) or (scalar,)) for scalar in self._scalars(name, node))

    def _scalars(self, name: str, node: yaml.Node) -> Iterator[yaml.ScalarNode]:
        if isinstance(node, yaml.SequenceNode) and not node.value:
            raise self.error(line_of(node), f"{name}: an empty list asks for no trials")
        for scalar in node.value if isinstance(node, yaml.SequenceNode) else [node]:
            if not isinstance(scalar, yaml.ScalarNode):
                raise self.error(line_of(scalar), f"{name}: a value or a list of values, nothing nested")
            yield scalar

    def _span(self, name: str, node: yaml.ScalarNode, values: Values) -> range | None:
        """The values that `first..last` stands for; None: the scalar is not a span."""
        if int not in values.types or not (span := _SPAN.fullmatch(node.value)):
            return None
        first, last = map(int, span.groups())
        if not first <= last < first + _MOST_VALUES:
            raise self.error(
                line_of(node), f"{name} {node.value}: first..last, rising, at most {_MOST_VALUES:,} values"
            )
        return range(first, last + 1)

    def _read(self, name: str, node: yaml.ScalarNode) -> object:
        try:
            return _READERS[node.tag](node.value)
        except (KeyError, ValueError):
            number = node.tag in _NUMBERS
            kind = "a number: decimal digits, no leading zeros" if number else "a value"
            raise self.error(
                line_of(node), f"{name} {quoted(node.value)}: cannot be read as {kind}"
            ) from None

    def _checked(self, name: str, value: object, node: yaml.ScalarNode, values: Values) -> Any:
        try:
            return values.check(value, node.value, self.name_of_part)
        except ValueError as error:
            raise self.error(line_of(node), f"{name} {quoted(node.value)}: {error}") from None


def line_of(node: yaml.Node) -> int:
    """The line at which a node begins, counted from 1."""
    return int(node.start_mark.line) + 1


def quoted(text: str) -> str:
    """Text of the file for an error, cut after 60 letters."""
    return text if len(text) <= _MOST_QUOTED else f"{text[:_MOST_QUOTED]}..."
