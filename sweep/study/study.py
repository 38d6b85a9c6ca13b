"""A study: the YAML file a researcher writes, validated, and the trials it asks for."""

import itertools
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import Field

from sweep import data, models, rules
from sweep.config import DENSE, FIELDS, SEEDS, Config
from sweep.errors import BadInput
from sweep.study import space
from sweep.study.consistency import Inconsistent, check
from sweep.study.document import Document, Item, line_of, quoted
from sweep.study.fields import RECIPE, Values, values
from sweep.study.identity import Trial
from sweep.study.recipes import RECIPES
from sweep.study.space import Search

# What an hour of a GPU costs, for estimates.
_PRICE = "price_per_gpu_hour"
_PRICES = Values(Annotated[float, Field(ge=0, allow_inf_nan=False)])
_FIELDS = (*FIELDS, RECIPE)
# Fields that go with all others, whatever their values.
_FREE = (*SEEDS, "combination")
# A study asks for so many trials at most, all its blocks together.
_MOST = 1_000_000
# What follows the name of a search in that of its best schedules.
BEST = "-best"
# What lies in a folder has names of 255 bytes at most, as `.NAME-best.needs.1234abcd` has.
_NAME_BYTES = 230


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


Axes = dict[str, list[Item]]
_Nodes = Mapping[str, yaml.Node]


def load(path: str | Path) -> Study:
    """Read and validate a study file.

    Raises:
        BadInput: one line with the file, the line number and what to put right.
    """
    return _Reader(Document(Path(path))).read()


class _Reader:
    """Turns YAML into configs, and whatever is wrong into one line with its place."""

    def __init__(self, document: Document) -> None:
        self.document, self.wrong = document, document.wrong

    def read(self) -> Study:
        root = self.document.root()
        if root is None:
            raise self.wrong(1, "the file is empty; see docs/studies.md for what a study looks like")
        nodes = self.document.mapping(root, "a study", (*_FIELDS, "name", "blocks", "search", _PRICE))
        own = {key: nodes.pop(key, None) for key in ("name", "blocks", _PRICE, "search")}
        name, price = self.name(own["name"]), self.price(own[_PRICE])
        path, text = self.document.path, self.document.text
        if own["search"] is not None:
            if own["blocks"] is not None:
                raise self.wrong(line_of(own["blocks"]), "blocks: a search has none, its space says it all")
            return Study(name, path, text, (), 0, price, self.search(own["search"], nodes))
        every = [
            (nodes | self.document.mapping(node, "a block", _FIELDS), line_of(node))
            for node in self.sequence(own["blocks"])
        ] or [(nodes, 1)]
        self.few(every)
        asked = 0
        found: dict[Trial, None] = {}
        blocks = [(self.axes(block), line) for block, line in every]
        for axes, line in blocks:  # a mistake is told before trials are made, of which there may be many
            one = {name: items[:1] if name in _FREE else items for name, items in axes.items()}
            for _ in self.product(one, line):
                pass
        for axes, line in blocks:
            for config in self.product(axes, line):
                asked += 1
                found[Trial.of(config)] = None
        return Study(name, path, text, tuple(found), asked, price)

    def few(self, every: list[tuple[dict[str, yaml.Node], int]]) -> None:
        """See that all blocks together ask for no more trials than a study can have, before any is made."""
        asked = 0
        for block, line in every:
            asked += math.prod(self.document.count(name, node, values(name)) for name, node in block.items())
            if asked > _MOST:
                raise self.wrong(line, f"this asks for more than {_MOST:,} trials: split the study")

    def search(self, node: yaml.Node, nodes: _Nodes) -> Search:
        """The search of a study whose other fields have one value each."""
        for name, given in nodes.items():
            if self.document.count(name, given, values(name)) > 1:
                raise self.wrong(
                    line_of(given), f"{name}: one value beside a search; put several in its space"
                )
        shared = self.axes(nodes)

        def make(chosen: Mapping[str, Any], lines: Mapping[str, int]) -> Config:
            items = {name: [Item(value, lines[name])] for name, value in chosen.items()}
            return next(self.product(shared | items, 1))

        fixed = {name: items[0].value for name, items in shared.items()}
        return space.read(self.document, node, fixed, make)

    def sequence(self, node: yaml.Node | None) -> list[yaml.Node]:
        if node is None:
            return []
        if not isinstance(node, yaml.SequenceNode) or not node.value:
            raise self.wrong(line_of(node), "blocks is a list of mappings, each with its own axes")
        return list(node.value)

    def name(self, node: yaml.Node | None) -> str:
        """The study's name, by default that of its file; it becomes a folder."""
        value, line = (self.document.path.stem, 1) if node is None else (node.value, line_of(node))
        if node is not None and not isinstance(node, yaml.ScalarNode):
            raise self.wrong(line, "name: one name belongs here")
        stem = value.removesuffix(BEST)
        if not re.fullmatch(r"\w[\w.-]{0,99}", stem) or len(stem.encode()) > _NAME_BYTES:
            raise self.wrong(
                line,
                f"name {quoted(value)!r}: give it a name of up to 100 letters, digits, '-', '_' and '.', "
                f"and of up to {_NAME_BYTES} bytes",
            )
        return value

    def price(self, node: yaml.Node | None) -> float | None:
        """What an hour of one GPU costs."""
        if node is None:
            return None
        try:
            price: float = self.document.value(_PRICE, node, _PRICES)
        except BadInput as error:
            raise BadInput(f"{error}: a price, such as 2.5") from None
        return price

    def axes(self, nodes: _Nodes) -> Axes:
        return {name: self.document.axis(name, node, values(name), _MOST) for name, node in nodes.items()}

    def product(self, axes: Axes, line: int) -> Iterator[Config]:
        required = [name for name, field in FIELDS.items() if field.is_required()]
        for name in required:
            if name not in axes and not (name == "criterion" and self.all_dense(axes)):
                raise self.wrong(line, f"{name} is missing: give it a value or a list of values")
        for chosen in itertools.product(*axes.values()):
            items = dict(zip(axes, chosen, strict=True))
            fields = {"criterion": DENSE} | {name: item.value for name, item in items.items()}
            if recipe := fields.pop(RECIPE, None):
                own = RECIPES[recipe](fields["dataset"], fields["model"])
                if fields.keys() & {"epochs", "steps"}:  # how long is one thing, however it is said
                    own = {name: value for name, value in own.items() if name not in ("epochs", "steps")}
                fields = own | fields
            yield self.consistent(Config(**fields), items, line)

    @staticmethod
    def all_dense(axes: Axes) -> bool:
        return all(item.value == 0 for item in axes.get("sparsity", [Item(1, 0)]))

    def consistent(self, config: Config, items: Mapping[str, Item], line: int) -> Config:
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
        if "iterations" in items:
            return config
        default = rules.find(config.criterion).iterations(config)
        return config if default == config.iterations else replace(config, iterations=default)
