"""A study: the YAML file that a researcher writes, validated, and its trials."""

import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import yaml
from pydantic import Field

from sweep.errors import BadInput
from sweep.names import one_of
from sweep.parts import Part
from sweep.study import axes, space_reader
from sweep.study.axes import MOST_TRIALS
from sweep.study.consistency import UNCHECKED
from sweep.study.document import Document, Item, line_of, quoted
from sweep.study.fields import NAMES, Named, Values, values
from sweep.study.identity import Trial
from sweep.study.library import PART_FIELDS, Library
from sweep.study.space import Search

# The price of one GPU for an hour, for estimates of what a study costs.
_PRICE = "price_per_gpu_hour"
_PRICES = Values(Annotated[float, Field(ge=0, allow_inf_nan=False)])
# The metrics of every trial's final network: one list, no axis.
_METRICS = "metrics"
_METRIC_NAMES = Named(Annotated[str, one_of("metric", "sweep.models.metrics:METRICS", own=True)], _METRICS)
# Added to the name of a search, it is the name of the study of the search's best schedules.
BEST = "-best"
# File systems allow names of 255 bytes, and the engine makes files such as `.NAME-best.needs.1234abcd`.
_MOST_NAME_BYTES = 230


@dataclass(frozen=True)
class Study:
    """A validated study file.

    Attributes:
        name: of the study, and of its folder of results.
        path: of the file.
        text: of the file.
        distinct: each trial once, in the order of the file.
        count: how many combinations of values the file has; some may be the same trial.
        parts: of one's own that it names: name in configs → part.
        price_per_gpu_hour: of one GPU, in any currency.
        search: what to search for; None: the study runs all its trials.
        metrics: names of the metrics that each trial's final network is measured by.
        weights: files of trained weights that it names: name in configs → file.
    """

    name: str
    path: Path
    text: str
    distinct: tuple[Trial, ...]
    count: int
    parts: Mapping[str, Part] = field(default_factory=dict)
    price_per_gpu_hour: float | None = None
    search: Search | None = None
    metrics: tuple[str, ...] = ()
    weights: Mapping[str, Path] = field(default_factory=dict)

    def trials(self) -> list[Trial]:
        """Each trial once, in the order of the file."""
        return list(self.distinct)


_Nodes = Mapping[str, yaml.Node]


def load(path: str | Path, recorded: Callable[[str], Iterable[Part]] | None = None) -> Study:
    """Read and validate a study file. The code of parts that it names is read, and not run.

    Args:
        recorded: gives the parts that earlier launches of a study recorded, by its name: they stand in for
            code that is not here. None: such code is an error.

    Raises:
        BadInput: one line with the file, the line number and what to correct.
    """
    document = Document(Path(path))
    root = document.root()
    if root is None:
        raise document.error(1, "the file is empty; see docs/studies.md for what a study looks like")
    keys = (*NAMES, "name", "blocks", "search", _PRICE, _METRICS)
    nodes = document.mapping(root, "a study", keys, PART_FIELDS)
    name_node, blocks, price_node, metrics_node, search = (
        nodes.pop(key, None) for key in ("name", "blocks", _PRICE, _METRICS, "search")
    )
    name, price = _name(document, name_node), _price(document, price_node)
    library = Library(document.path.parent, lambda: recorded(name) if recorded else ())
    document.name_of_part = library.name
    metrics = _metrics(document, metrics_node)
    parsed: Search | None = None
    trials: tuple[Trial, ...] = ()
    count = 0
    if search is None:
        trials, count = _trials(document, nodes, blocks)
    elif blocks is not None:
        raise document.error(line_of(blocks), "blocks: a search has none, its space says it all")
    else:
        parsed = space_reader.read(document, search, _single(document, nodes))
    return Study(
        name,
        document.path,
        document.text,
        trials,
        count,
        parts=library.parts,
        price_per_gpu_hour=price,
        search=parsed,
        metrics=metrics,
        weights=library.weights,
    )


def _trials(document: Document, nodes: _Nodes, list_node: yaml.Node | None) -> tuple[tuple[Trial, ...], int]:
    """Each trial of a study once, and how many combinations of values the study has.

    Args:
        nodes: of the fields that all blocks share.
        list_node: the list of blocks.
    """
    blocks = [
        (dict(nodes) | document.mapping(node, "a block", NAMES, PART_FIELDS), line_of(node))
        for node in _sequence(document, list_node)
    ] or [(dict(nodes), 1)]
    _check_count(document, blocks)
    read = [(axes.read(document, block), line) for block, line in blocks]
    # A mistake is reported before any trial is made, as a study may have a million trials.
    for each, line in read:
        shortened = {name: items[:1] if name in UNCHECKED else items for name, items in each.items()}
        for _ in axes.configs(document, shortened, line):
            pass
    count = 0
    distinct: dict[Trial, None] = {}
    for each, line in read:
        for config in axes.configs(document, each, line):
            count += 1
            distinct[Trial.of(config)] = None
    return tuple(distinct), count


def _check_count(document: Document, blocks: list[tuple[dict[str, yaml.Node], int]]) -> None:
    """Check that all blocks together have no more combinations of values than a study may have trials."""
    count = 0
    for block, line in blocks:
        count += math.prod(document.count(name, node, values(name)) for name, node in block.items())
        if count > MOST_TRIALS:
            raise document.error(line, f"this asks for more than {MOST_TRIALS:,} trials: split the study")


def _single(document: Document, nodes: _Nodes) -> dict[str, Item]:
    """The values of the fields beside a search: one value each."""
    for name, node in nodes.items():
        if document.count(name, node, values(name)) > 1:
            raise document.error(
                line_of(node), f"{name}: one value beside a search; put several in its space"
            )
    return {name: items[0] for name, items in axes.read(document, nodes).items()}


def _sequence(document: Document, node: yaml.Node | None) -> list[yaml.Node]:
    if node is None:
        return []
    if not isinstance(node, yaml.SequenceNode) or not node.value:
        raise document.error(line_of(node), "blocks is a list of mappings, each with its own axes")
    return list(node.value)


def _name(document: Document, node: yaml.Node | None) -> str:
    """The name of the study, by default that of its file; it becomes the name of a folder."""
    name, line = (document.path.stem, 1) if node is None else (node.value, line_of(node))
    if node is not None and not isinstance(node, yaml.ScalarNode):
        raise document.error(line, "name: one name belongs here")
    stem = name.removesuffix(BEST)
    if not re.fullmatch(r"\w[\w.-]{0,99}", stem) or len(stem.encode()) > _MOST_NAME_BYTES:
        raise document.error(
            line,
            f"name {quoted(name)!r}: give it a name of up to 100 letters, digits, '-', '_' and '.', "
            f"and of up to {_MOST_NAME_BYTES} bytes",
        )
    return name


def _price(document: Document, node: yaml.Node | None) -> float | None:
    """The price of one GPU for an hour."""
    if node is None:
        return None
    try:
        price: float = document.value(_PRICE, node, _PRICES)
    except BadInput as error:
        raise BadInput(f"{error}: a price, such as 2.5") from None
    return price


def _metrics(document: Document, node: yaml.Node | None) -> tuple[str, ...]:
    """The names of metrics, each once, in the order of the file."""
    if node is None:
        return ()
    return tuple(dict.fromkeys(document.values(_METRICS, node, _METRIC_NAMES)))
