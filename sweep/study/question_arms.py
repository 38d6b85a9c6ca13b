"""The arms of a study that asks a question, by the names that the question gives them."""

import itertools
import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

import yaml

from sweep import arms
from sweep.config import CHOICE
from sweep.errors import BadInput
from sweep.study import axes
from sweep.study.document import Document, Item, nearest, origin_of
from sweep.study.fields import Values
from sweep.study.identity import Trial
from sweep.study.question import Items, trial

_NAME = Values(str)
# The most arms of a question: a planner compares each with each.
_MOST = 1000
# The nodes of a block of a study by field, and where the block begins.
Block = tuple[Mapping[str, yaml.Node], str]


class Arms:
    """All arms of a study. Each is known by its canonical config without sparsity and seed, as JSON."""

    def __init__(self, document: Document, blocks: Iterable[Block], place: float) -> None:
        """Make the trials of all arms at a sparsity.

        Args:
            blocks: of the study; of one without blocks all its fields.

        Raises:
            BadInput: a field does not take its value, or the fields of an arm do not go together.
        """
        self._document = document
        self.items: dict[str, Items] = {}
        for fields, origin in blocks:
            read = axes.read(document, {name: node for name, node in fields.items() if name != "sparsity"})
            read["seed"] = read.get("seed", [Item(0, origin)])[:1]
            for chosen in itertools.product(*read.values()):
                items = dict(zip(read, chosen, strict=True))
                if len(self.items) == _MOST:
                    raise document.error(origin, f"a question of more than {_MOST:,} arms: give fewer values")
                arm = trial(document, items, place, items["seed"].value, origin).arm
                self.items.setdefault(arm, items)

    def named(self, key: str, node: yaml.Node) -> str:
        """The arm that a name is of, such as `random:erk`.

        Raises:
            BadInput: no arm has the name, or several have it.
        """
        name: str = self._document.value(key, node, _NAME)
        known = {arm: arms.called(config) for arm, config in _configs(self.items).items()}
        having = [arm for arm, called in known.items() if name in called]
        if not having:
            there = list(dict.fromkeys(each for called in known.values() for each in called))
            raise self._error(node, f"{key} {name}: no arm of the study; {nearest(name, there)}")
        if len(having) > 1:
            raise self._several(node, f"{key} {name}", having)
        return having[0]

    def two(self, first: yaml.Node, second: yaml.Node) -> list[str]:
        """The arms that two names are of, in one setting.

        Raises:
            BadInput: a name is of no arm or of several, or the arms are not to be compared.
        """
        one, other = self.named("first", first), self.named("second", second)
        if one == other:
            raise self._error(second, "second: the same arm as first: name another")
        further = [name for name in _apart(one, other) if not arms.is_among(name, CHOICE)]
        if further:
            said = f"second: it differs from first in {' and '.join(further)} too: give that one value"
            raise self._error(second, said)
        return [one, other]

    def of_field(self, node: yaml.ScalarNode) -> list[str]:
        """An arm for each value of a field.

        Raises:
            BadInput: a value has several arms.
        """
        by_value: dict[object, str] = {}
        for arm, items in self.items.items():
            value = items[node.value].value if node.value in items else None
            if value in by_value:
                raise self._several(node, f"among {node.value}: {value}", [by_value[value], arm])
            by_value[value] = arm
        return [*by_value.values()]

    def fields(
        self, found: Sequence[str], places: Sequence[float]
    ) -> tuple[dict[str, dict[str, Any]], set[str]]:
        """The fields that all trials of an arm have, and the names of the fields that some arm's have not.

        Such a field is the sparsity, and what follows from it, as the iterations of `imp` do.

        Args:
            places: sparsities.
        """
        configs = {arm: [json.loads(each.canonical) for each in self._trials(arm, places)] for arm in found}
        moved = {"seed", "sparsity"}.union(*(arms.apart(*each) for each in configs.values()))
        return {arm: _without(moved, each) for arm, [each, *_] in configs.items()}, moved

    def _trials(self, arm: str, places: Sequence[float]) -> Iterator[Trial]:
        items = self.items[arm]
        for place in places:
            yield trial(self._document, items, place, items["seed"].value, items["seed"].origin)

    def _several(self, node: yaml.Node, what: str, having: Sequence[str]) -> BadInput:
        """The error of a name that several arms have: no number averages two arms."""
        apart = _apart(*having[:2])
        scoped = ", or name criterion:scope" if "scope" in apart else ""
        said = f"{what}: arms go by it that differ in {' and '.join(apart)}: give that one value{scoped}"
        return self._error(node, said)

    def _error(self, node: yaml.Node, message: str) -> BadInput:
        return self._document.error(origin_of(node), message)


def of_names(nodes: Iterable[yaml.Node], blocks: Sequence[Block]) -> Iterator[Block]:
    """Blocks for a study that gives no criterion: each name of an arm gives one, and maybe a scope.

    Args:
        nodes: the names.
        blocks: of the study.
    """
    for node in {str(node.value): node for node in nodes}.values():
        for fields, origin in blocks:
            yield {**fields, **_fields(node)}, origin


def _fields(node: yaml.Node) -> dict[str, yaml.Node]:
    """The criterion and the scope that a name such as `random:erk` stands for."""
    criterion, colon, scope = str(node.value).rpartition(":")
    if not colon or criterion.endswith(".py"):
        return {"criterion": node}
    marks = node.start_mark, node.end_mark
    return {
        "criterion": yaml.ScalarNode(node.tag, criterion, *marks),
        "scope": yaml.ScalarNode(node.tag, scope, *marks),
    }


def _without(names: Collection[str], config: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in config.items() if name not in names}


def _configs(found: Iterable[str]) -> dict[str, dict[str, Any]]:
    return {arm: json.loads(arm) for arm in found}


def _apart(one: str, other: str) -> list[str]:
    """The fields in which two arms differ."""
    return arms.apart(*_configs([one, other]).values())
