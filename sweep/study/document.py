"""A study file as YAML: what stands in which line, and a mistake as one line with its place."""

import io
import re
from collections.abc import Callable, Iterator, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from sweep.errors import BadInput
from sweep.study.fields import Values

# A larger file is something else: spans stand for long lists.
_LARGEST = 1 << 20
# A span such as 0..36999 stands for so many values at most.
_LONGEST = 100_000
_SPAN = re.compile(r"([0-9]{1,19})\.\.([0-9]{1,19})")
# An error quotes so many letters of the file at most.
_QUOTED = 60
_TAG = "tag:yaml.org,2002:"
# YAML's own kinds of scalars, but for dates and bytes, which no field has. In YAML 1.1 numbers can be octal
# (010) or to base 60 (1:30): `int(…, 0)` and `float` refuse them.
_READ: dict[str, Callable[[str], object]] = {
    f"{_TAG}null": lambda text: None,
    f"{_TAG}bool": lambda text: yaml.SafeLoader.bool_values[text.lower()],
    f"{_TAG}int": lambda text: int(text.replace("_", ""), 0),
    f"{_TAG}float": lambda text: float(re.sub(r"\.(?=inf|nan)", "", text.replace("_", "").lower())),
    f"{_TAG}str": lambda text: text.encode().decode(),  # half a letter (\\uD800) is none
}
_NUMBERS = (f"{_TAG}int", f"{_TAG}float")


class Item(NamedTuple):
    """A value of the file and the line it stands in."""

    value: Any
    line: int


class Document:
    """A study file. An error is a `BadInput`: one line with the file, the line number and what to put right.

    A node may hold itself, and others many times over (YAML's aliases), so nothing is read that is nested
    deeper than a study is.

    Attributes:
        text: all of it.

    Raises:
        BadInput: it cannot be read, or is no text.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        example = "name a study file, such as studies/quickstart.yaml"
        try:
            with path.open("rb") as file:
                content = file.read(_LARGEST + 1)
        except OSError as error:
            raise BadInput(f"{path}: {error.strerror}: {example}") from None
        if len(content) > _LARGEST:
            raise self.wrong(1, f"over {_LARGEST >> 20} MiB: {example}; a span such as 0..999 is a long list")
        try:
            self.text = io.StringIO(content.decode(), newline=None).read()
        except UnicodeDecodeError as error:
            line = content.count(b"\n", 0, error.start) + 1
            raise self.wrong(line, f"not a text file in UTF-8: {example}") from None

    def wrong(self, line: int, message: str) -> BadInput:
        """The error of a line."""
        said = f"{self.path}:{line}: {message}"
        return BadInput("".join(sign if sign.isprintable() else repr(sign)[1:-1] for sign in said))

    def root(self) -> yaml.Node | None:
        """All of the file; None: it is empty."""
        loader = None
        try:
            loader = yaml.SafeLoader(self.text)
            return loader.get_single_node()
        except yaml.reader.ReaderError as error:
            line = self.text.count("\n", 0, error.position) + 1
            raise self.wrong(line, f"not YAML: {error.reason}") from None
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            line = mark.line + 1 if mark else 1
            raise self.wrong(line, f"not YAML: {quoted(str(error.problem))}") from None
        except RecursionError:
            raise self.wrong(1, "not a study: nested too deeply") from None
        except (ValueError, OverflowError):  # of a letter (\U) or a version (%YAML) whose number is too large
            assert loader is not None
            raise self.wrong(loader.line + 1, "not YAML: a number that is too large") from None

    def mapping(self, node: yaml.Node, what: str, known: Sequence[str]) -> dict[str, yaml.Node]:
        """Key → node.

        Args:
            what: it is, for errors.
            known: keys.
        """
        if not isinstance(node, yaml.MappingNode):
            raise self.wrong(
                line_of(node), f"{what} is a mapping of fields to values, as in 'sparsity: [0.9, 0.99]'"
            )
        fields: dict[str, yaml.Node] = {}
        for key, value in node.value:
            word = key.value if isinstance(key, yaml.ScalarNode) else ""
            if word not in known:
                near = get_close_matches(word, known, n=1, cutoff=0.5)
                hint = f"did you mean {near[0]}?" if near else f"known: {', '.join(known)}"
                raise self.wrong(line_of(key), f"unknown key {quoted(word)!r} in {what}; {hint}")
            if word in fields:
                raise self.wrong(line_of(key), f"{word} is given twice")
            fields[word] = value
        return fields

    def value(self, name: str, node: yaml.Node, values: Values) -> Any:
        """The one value that a node has."""
        if isinstance(node, yaml.SequenceNode):
            raise self.wrong(line_of(node), f"{name}: one value belongs here, not a list")
        [item] = self.axis(name, node, values, most=1)
        return item.value

    def values(self, name: str, node: yaml.Node, values: Values) -> list[Any]:
        """One or several values."""
        return [item.value for item in self.axis(name, node, values)]

    def axis(self, name: str, node: yaml.Node, values: Values, most: int = _LONGEST) -> list[Item]:
        """The same, each with its line.

        Args:
            most: values that there can be.
        """
        if (count := self.count(name, node, values)) > most:
            raise self.wrong(line_of(node), f"{name}: {count:,} values, where at most {most:,} belong")
        found: list[Item] = []
        for part in self._parts(name, node):
            line = line_of(part)
            if span := self._span(name, part, values):
                for end in (span[0], span[-1]):  # all a whole number has to be is in an interval
                    self._checked(name, end, part, values)
                found += [Item(value, line) for value in span]
            else:
                found.append(Item(self._checked(name, self._read(name, part), part, values), line))
        return found

    def count(self, name: str, node: yaml.Node, values: Values) -> int:
        """How many values a node has, counted without making them."""
        return sum(len(self._span(name, part, values) or (part,)) for part in self._parts(name, node))

    def _parts(self, name: str, node: yaml.Node) -> Iterator[yaml.ScalarNode]:
        if isinstance(node, yaml.SequenceNode) and not node.value:
            raise self.wrong(line_of(node), f"{name}: an empty list asks for no trials")
        for part in node.value if isinstance(node, yaml.SequenceNode) else [node]:
            if not isinstance(part, yaml.ScalarNode):
                raise self.wrong(line_of(part), f"{name}: a value or a list of values, nothing nested")
            yield part

    def _span(self, name: str, node: yaml.ScalarNode, values: Values) -> range | None:
        """The values that `first..last` stands for; None: it is no span."""
        if int not in values.kinds or not (span := _SPAN.fullmatch(node.value)):
            return None
        first, last = map(int, span.groups())
        if not first <= last < first + _LONGEST:
            raise self.wrong(
                line_of(node), f"{name} {node.value}: first..last, rising, at most {_LONGEST:,} values"
            )
        return range(first, last + 1)

    def _read(self, name: str, node: yaml.ScalarNode) -> object:
        try:
            return _READ[node.tag](node.value)
        except (KeyError, ValueError):
            number = node.tag in _NUMBERS
            what = "a number: decimal digits, no leading zeros" if number else "a value"
            raise self.wrong(
                line_of(node), f"{name} {quoted(node.value)}: cannot be read as {what}"
            ) from None

    def _checked(self, name: str, value: object, node: yaml.ScalarNode, values: Values) -> Any:
        try:
            return values.check(value, node.value)
        except ValueError as error:
            raise self.wrong(line_of(node), f"{name} {quoted(node.value)}: {error}") from None


def line_of(node: yaml.Node) -> int:
    """The line that a node begins in, from 1."""
    return int(node.start_mark.line) + 1


def quoted(text: str) -> str:
    """What the file says, no longer than an error should be."""
    return text if len(text) <= _QUOTED else f"{text[:_QUOTED]}..."
