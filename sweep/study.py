"""A study: the YAML file a researcher writes, validated, and the trials it asks for."""

import itertools
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from pydantic import ValidationError

import pruners
from sweep import data, models, space
from sweep.config import DENSE, FIELDS, RULES, Config, Inconsistent, Trial, check
from sweep.errors import BadInput
from sweep.fields import RECIPE, kinds, validator
from sweep.recipes import RECIPES
from sweep.space import Search

# What an hour of a GPU costs, for estimates.
_PRICE = "price_per_gpu_hour"
_FIELDS = (*FIELDS, RECIPE)
# A span such as 0..36999 stands for so many values at most.
_LONGEST = 100_000
# And all lists of a block together for so many trials.
_MOST = 1_000_000


@dataclass(frozen=True)
class Study:
    """A validated study file.

    Attributes:
        wanted: the distinct trials, in the order of the file.
        asked: how many it asks for as written: some may be the same trial.
        price_per_gpu_hour: of one GPU, in whatever currency.
    """

    name: str
    path: Path
    text: str
    wanted: tuple[Trial, ...]
    asked: int
    price_per_gpu_hour: float | None = None
    search: Search | None = None

    def trials(self) -> list[Trial]:
        """The distinct trials, in the order of the file."""
        return list(self.wanted)


class _Item(NamedTuple):
    """A value of the file and the line it stands in."""

    value: Any
    line: int


Axes = dict[str, list[_Item]]


def load(path: str | Path) -> Study:
    """Read and validate a study file.

    Raises:
        BadInput: one line with the file, the line number and what to put right.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not a text file"
        raise BadInput(f"{path}: {reason}: name a study file, such as studies/quickstart.yaml") from None
    return _Reader(path).read(text)


class _Reader:
    """Turns YAML into configs, and whatever is wrong into one line with its place."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self, text: str) -> Study:
        try:
            root = yaml.compose(text, Loader=yaml.SafeLoader)
        except yaml.YAMLError as error:
            mark = getattr(error, "problem_mark", None)
            raise self.wrong(
                mark.line + 1 if mark else 1, f"not YAML: {getattr(error, 'problem', None) or error}"
            ) from None
        except RecursionError:
            raise self.wrong(1, "not a study: nested too deeply") from None
        if root is None:
            raise self.wrong(1, "the file is empty; see docs/studies.md for what a study looks like")
        fields = self.mapping(root, "a study", (*_FIELDS, "name", "blocks", "search", _PRICE))
        name = fields.pop("name", None)
        blocks = fields.pop("blocks", None)
        price = fields.pop(_PRICE, None)
        searched = fields.pop("search", None)
        shared = self.axes(fields)
        if searched is not None:
            if blocks is not None:
                raise self.wrong(
                    blocks.start_mark.line + 1, "blocks: a search has none, its space says it all"
                )
            search = self.search(searched, shared)
            return Study(self.name(name), self.path, text, (), 0, self.price(price), search)
        every = [
            ({**shared, **self.axes(self.mapping(node, "a block", _FIELDS))}, node.start_mark.line + 1)
            for node in self.sequence(blocks)
        ]
        asked = 0
        found: dict[Trial, None] = {}
        for axes, line in every or [(shared, 1)]:
            for config in self.product(axes, line):
                asked += 1
                found[Trial.of(config)] = None
        return Study(self.name(name), self.path, text, tuple(found), asked, self.price(price))

    def wrong(self, line: int, message: str) -> BadInput:
        return BadInput(f"{self.path}:{line}: {message}")

    def search(self, node: yaml.Node, shared: Axes) -> Search:
        """The search of a study whose other fields have one value each."""
        for name, items in shared.items():
            if len(items) > 1:
                raise self.wrong(
                    items[1].line, f"{name}: one value beside a search; put several in its space"
                )

        def make(chosen: Mapping[str, Any], lines: Mapping[str, int]) -> Config:
            items = {name: [_Item(value, lines[name])] for name, value in chosen.items()}
            return next(self.product(shared | items, 1))

        fixed = {name: items[0].value for name, items in shared.items()}
        return space.read(self, node, fixed, make)

    def value(self, name: str, node: yaml.Node) -> Any:
        """A value of a field."""
        found = self.values(name, node)
        if len(found) > 1:
            raise self.wrong(node.start_mark.line + 1, f"{name}: one value belongs here")
        return found[0]

    def values(self, name: str, node: yaml.Node) -> list[Any]:
        """One or several values of a field."""
        return [item.value for item in self.axis(name, node)]

    def mapping(self, node: yaml.Node, what: str, known: Sequence[str]) -> dict[str, yaml.Node]:
        line = node.start_mark.line + 1
        if not isinstance(node, yaml.MappingNode):
            raise self.wrong(line, f"{what} is a mapping of fields to values, as in 'sparsity: [0.9, 0.99]'")
        fields: dict[str, yaml.Node] = {}
        for key, value in node.value:
            at = key.start_mark.line + 1
            word = str(getattr(key, "value", ""))
            if word not in known:
                near = get_close_matches(word, known, n=1, cutoff=0.5)
                hint = f"did you mean {near[0]}?" if near else f"known: {', '.join(known)}"
                raise self.wrong(at, f"unknown key {word!r} in {what}; {hint}")
            if word in fields:
                raise self.wrong(at, f"{word} is given twice")
            fields[word] = value
        return fields

    def sequence(self, node: yaml.Node | None) -> list[yaml.Node]:
        if node is None:
            return []
        if not isinstance(node, yaml.SequenceNode) or not node.value:
            raise self.wrong(node.start_mark.line + 1, "blocks is a list of mappings, each with its own axes")
        return list(node.value)

    def name(self, node: yaml.Node | None) -> str:
        """The study's name, by default that of its file; it becomes a folder."""
        value = self.path.stem if node is None else str(node.value)
        if not re.fullmatch(r"\w[\w.-]{0,99}", value):
            line = 1 if node is None else node.start_mark.line + 1
            raise self.wrong(
                line, f"name {value[:40]!r}: give it a name of up to 100 letters, digits, '-', '_' and '.'"
            )
        return value

    def price(self, node: yaml.Node | None) -> float | None:
        """What an hour of one GPU costs."""
        if node is None:
            return None
        try:
            price = float(str(node.value))
        except ValueError:
            price = -1
        if not 0 <= price < math.inf:
            line = node.start_mark.line + 1
            raise self.wrong(line, f"{_PRICE} {str(node.value)[:40]}: a price, such as 2.5")
        return price

    def axes(self, fields: Mapping[str, yaml.Node]) -> Axes:
        return {name: list(self.axis(name, node)) for name, node in fields.items()}

    def axis(self, name: str, node: yaml.Node) -> Iterator[_Item]:
        if isinstance(node, yaml.SequenceNode) and not node.value:
            raise self.wrong(node.start_mark.line + 1, f"{name}: an empty list asks for no trials")
        for item in node.value if isinstance(node, yaml.SequenceNode) else [node]:
            line = item.start_mark.line + 1
            if not isinstance(item, yaml.ScalarNode):
                raise self.wrong(line, f"{name}: a value or a list of values, nothing nested")
            if int in kinds(name) and (span := re.fullmatch(r"(\d+)\.\.(\d+)", item.value)):
                first, last = map(int, span.groups())
                if not first <= last < first + _LONGEST:
                    raise self.wrong(
                        line, f"{name} {item.value}: first..last, rising, at most {_LONGEST} values"
                    )
                for value in range(first, last + 1):
                    yield _Item(self.checked(name, value, item.value, line), line)
                continue
            try:
                value = yaml.SafeLoader("").construct_object(item)
            except (yaml.YAMLError, ValueError):
                raise self.wrong(line, f"{name} {item.value}: cannot be read as a value") from None
            yield _Item(self.checked(name, value, item.value, line), line)

    def checked(self, name: str, value: object, written: str, line: int) -> object:
        allowed = kinds(name)
        if isinstance(value, bool) != (bool in allowed):
            belongs = "true or false belongs here" if bool in allowed else "no place for true or false"
            raise self.wrong(line, f"{name} {written}: {belongs}")
        if int in allowed and str not in allowed and isinstance(value, str):
            raise self.wrong(line, f"{name} {written}: text, where a whole number belongs")
        if str in allowed and int not in allowed and isinstance(value, int | float):
            value = written  # one number where several may stand, as in lr_drops
        try:
            return validator(name).validate_python(value)
        except ValidationError as error:
            message = " or ".join(each["msg"].removeprefix("Value error, ") for each in error.errors())
            raise self.wrong(line, f"{name} {written}: {message[0].lower()}{message[1:]}") from None

    def product(self, axes: Axes, line: int) -> Iterator[Config]:
        asked = math.prod(map(len, axes.values()))
        if asked > _MOST:
            raise self.wrong(line, f"this asks for {asked:,} trials: at most {_MOST:,}, split the study")
        required = [name for name, field in FIELDS.items() if field.is_required()]
        for name in required:
            if name not in axes and not (name == "criterion" and self.all_dense(axes)):
                raise self.wrong(line, f"{name} is missing: give it a value or a list of values")
        for values in itertools.product(*axes.values()):
            items = dict(zip(axes, values, strict=True))
            fields = {"criterion": DENSE} | {name: item.value for name, item in items.items()}
            if recipe := fields.pop(RECIPE, None):
                own = RECIPES[recipe](fields["dataset"], fields["model"])
                if fields.keys() & {"epochs", "steps"}:  # how long is one thing, however it is said
                    own = {name: value for name, value in own.items() if name not in ("epochs", "steps")}
                fields = own | fields
            yield self.consistent(Config(**fields), items, line)

    @staticmethod
    def all_dense(axes: Axes) -> bool:
        return all(item.value == 0 for item in axes.get("sparsity", [_Item(1, 0)]))

    def consistent(self, config: Config, items: Mapping[str, _Item], line: int) -> Config:
        """The config if its fields go together, with the criterion's own number of iterations."""
        shape = data.SHAPES.get(config.dataset)
        if shape:
            try:
                models.check(config.model, shape)
            except BadInput as error:
                raise self.wrong(items["model"].line, str(error)) from None
        try:
            check(config)
        except Inconsistent as error:
            written = items.get(error.field)
            raise self.wrong(written.line if written else line, str(error)) from None
        if config.criterion == DENSE or "iterations" in items:
            return config
        if config.criterion in RULES:
            default = levels(config.sparsity) if config.criterion == "imp" else 1
        else:
            default = pruners.find(config.criterion).iterations
        return config if default == 1 else replace(config, iterations=default)


def levels(sparsity: float) -> int:
    """Levels of iterative magnitude pruning that remove a fifth each, to the nearest."""
    return max(1, round(math.log(1 - sparsity) / math.log(0.8)))
