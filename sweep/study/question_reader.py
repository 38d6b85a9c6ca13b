"""Reads the `question:` mapping of a study file: what is asked, of which arms, and for how many trials."""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, Literal

import yaml
from pydantic import Field

from sweep import arms
from sweep.config import FIELDS
from sweep.errors import BadInput
from sweep.questions.asked import DECIDES, KINDS, Asked, Kind, Planned
from sweep.questions.best import Best
from sweep.questions.correlation import Correlation
from sweep.questions.crossover import Crossover
from sweep.questions.difference import Difference
from sweep.questions.places import Width
from sweep.study.document import Document, listed, origin_of
from sweep.study.fields import Values, values
from sweep.study.question import Question
from sweep.study.question_arms import Arms, Block, of_names

# The budgets of a question, which stand beside it.
_BUDGETS = {
    "trials": Values(Annotated[int, Field(ge=1, le=10**6)]),
    "max_hours": Values(Annotated[float, Field(gt=0, allow_inf_nan=False)]),
}
_TEXT = Values(str)
_SEEDS = Values(Annotated[int, Field(ge=4, le=10**5)])
_AMOUNT = Values(Annotated[float, Field(gt=0, lt=1)])
_TRUTH = Values(bool)
_BEFORE = Values(Literal["pre_train_loss", "pre_train_loss_recalibrated"])
# The keys that each question needs, and those that it may have.
_KEYS = {
    "crossover": (("first", "second", "within"), ("between", "monotone", "seeds")),
    "best": (("among", "within"), ("at", "seeds")),
    "difference": (("first", "second"), ("within", "at", "seeds")),
    "correlation": (("within",), ("at", "before", "seeds")),
}
# The keys whose values name arms.
_NAMING = ("first", "second", "among")
_DECADES = re.compile(r"(.+?)\s*decades?(?: of density)?")
_EXAMPLES = {"between": "between: [0.8, 0.998]", "at": "at: 0.98"}


def read(document: Document, node: yaml.Node, blocks: Sequence[Block]) -> Question:
    """The question that a node of a study file describes.

    Args:
        blocks: the fields of each block of the study, with its origin; of one without blocks all fields.

    Raises:
        BadInput: the node is no question, or not one of this study.
    """
    nodes = document.mapping(node, "a question", (*KINDS, *_BUDGETS))
    budgets = {
        name: document.value(name, nodes.pop(name), _BUDGETS[name]) for name in _BUDGETS if name in nodes
    }
    if len(nodes) != 1:
        raise document.error(origin_of(node), f"question: one of {', '.join(KINDS)}; see docs/questions.md")
    [(kind, own)] = nodes.items()
    return _Reader(document, kind, own, blocks).question(budgets)


class _Reader:
    """Reads one question.

    Attributes:
        nodes: the values of its keys.
        places: the sparsities that it names.
        arms: of the study.
    """

    def __init__(self, document: Document, kind: Any, node: yaml.Node, blocks: Sequence[Block]) -> None:
        needed, further = _KEYS[kind]
        self.document, self.kind, self.origin = document, kind, origin_of(node)
        self.nodes = document.mapping(node, f"the question {kind}", (*needed, *further))
        for name in needed:
            if name not in self.nodes:
                raise self.error(f"{name} is missing: {kind} takes {', '.join((*needed, *further))}")
        self.places = self._places(blocks)
        named = [each for key in _NAMING if key in self.nodes for each in listed(self.nodes[key])]
        if named and not self.is_among_field and not any("criterion" in fields for fields, _ in blocks):
            blocks = [*of_names(named, blocks)]
        self.arms = Arms(document, blocks, self.places[0])

    def question(self, budgets: Mapping[str, Any]) -> Question:
        """The question, with its arms and its budgets."""
        found = _ARMS[self.kind](self)
        seeds = {self.arms.items[arm]["seed"].value for arm in found}
        if len(seeds) > 1:
            raise self.error(
                "the arms begin with different seeds, and are compared seed by seed: give them one"
            )
        same, chosen = self.arms.fields(found, self.places)
        labels = arms.names(same, dict.fromkeys(same))
        asked = Asked(
            kind=self.kind,
            planner=_PLANNERS[self.kind](self, [labels[arm] for arm in found]),
            arms={labels[arm]: fields for arm, fields in same.items()},
            chosen=tuple(sorted(chosen)),
            seed=min(seeds),
            columns=(DECIDES,) if self.kind != "correlation" else (self._before(), DECIDES),
        )
        given = {
            labels[arm]: {name: item for name, item in self.arms.items[arm].items() if name != "seed"}
            for arm in found
        }
        return Question(self.document, self.origin, asked, given, **budgets)

    def _before(self) -> str:
        return str(self.value("before", _BEFORE, "pre_train_loss"))

    def _places(self, blocks: Sequence[Block]) -> tuple[float, ...]:
        """The sparsities that the question names, or else the study; rising."""
        key = "between" if self.kind == "crossover" else "at"
        of_study = [fields["sparsity"] for fields, _ in blocks if "sparsity" in fields]
        given = [self.nodes[key]] if key in self.nodes else of_study
        if not given:
            raise self.error(f"{key} is missing: which sparsities? as in {_EXAMPLES[key]}")
        takes, origin = values("sparsity"), origin_of(given[0])
        places = sorted({place for node in given for place in self.document.values(key, node, takes)})
        if not places[0]:
            raise self.error(f"{key} 0: nothing is pruned there: give sparsities above 0", origin)
        if self.kind == "crossover":
            if len(places) < 2:
                raise self.error(f"{key}: two sparsities, from the low to the high one", origin)
            return places[0], places[-1]
        if len(places) > 1 and self.kind != "best":
            raise self.error(f"{key}: {len(places)} sparsities, where one belongs", origin)
        return tuple(places)

    @property
    def is_among_field(self) -> bool:
        """Whether the arms are those of the values of a field."""
        node = self.nodes.get("among")
        return isinstance(node, yaml.ScalarNode) and (node.value in FIELDS or "." in node.value)

    def value(self, key: str, takes: Values, default: Any = None) -> Any:
        """The value of a key."""
        return self.document.value(key, self.nodes[key], takes) if key in self.nodes else default

    def error(self, message: str, origin: str | None = None) -> BadInput:
        """The error that names an origin, by default that of the question."""
        return self.document.error(origin or self.origin, message)

    @property
    def within(self) -> Any:
        """A width in the unit of the accuracy; None: the question has none."""
        return self.value("within", _AMOUNT)

    def cap(self, default: int) -> int:
        """The most seeds at a place."""
        return int(self.value("seeds", _SEEDS, default))

    def pair(self) -> list[str]:
        """The arms `first` and `second`."""
        return self.arms.two(self.nodes["first"], self.nodes["second"])

    def among(self) -> list[str]:
        """The arms that `among` names: those of all values of a field, or some by name."""
        node = self.nodes["among"]
        if isinstance(node, yaml.ScalarNode) and self.is_among_field:
            chosen = self.arms.of_field(node)
        else:
            chosen = list(dict.fromkeys(self.arms.named("among", each) for each in listed(node)))
        if len(chosen) < 2:
            raise self.error("among: one arm is the best of itself: several belong here", origin_of(node))
        return chosen

    def every(self) -> list[str]:
        """All arms of the study."""
        if len(self.arms.items) < 2:
            raise self.error("correlation: the study has one arm: it takes several, as of several criteria")
        return [*self.arms.items]

    def width(self) -> Width:
        """The width of a bracket, in sparsity or in decades of density."""
        text = str(self.value("within", _TEXT)).strip()
        decades = _DECADES.fullmatch(text)
        try:
            amount = float(decades[1] if decades else text)
        except ValueError:
            amount = 0.0
        if not 0 < amount < (10 if decades else 1):
            said = f"within {text}: a width in sparsity, such as 0.005, or in density, such as 0.125 decades"
            raise self.error(said, origin_of(self.nodes["within"]))
        return Width(amount, decades is not None)

    def monotone(self) -> bool:
        """Whether the difference is known to cross once at most."""
        return bool(self.value("monotone", _TRUTH, default=False))


def _crossover(reader: _Reader, labels: Sequence[str]) -> Planned:
    first, second = labels
    low, high = reader.places
    return Crossover(
        first=first,
        second=second,
        low=low,
        high=high,
        within=reader.width(),
        monotone=reader.monotone(),
        cap=reader.cap(Crossover.cap),
    )


def _best(reader: _Reader, labels: Sequence[str]) -> Planned:
    return Best(arms=tuple(labels), places=reader.places, within=reader.within, cap=reader.cap(Best.cap))


def _difference(reader: _Reader, labels: Sequence[str]) -> Planned:
    first, second = labels
    [place] = reader.places
    cap = reader.cap(Difference.cap)
    return Difference(first=first, second=second, place=place, within=reader.within, cap=cap)


def _correlation(reader: _Reader, labels: Sequence[str]) -> Planned:
    [place] = reader.places
    return Correlation(arms=tuple(labels), place=place, within=reader.within, cap=reader.cap(Correlation.cap))


_ARMS: dict[Kind, Callable[[_Reader], list[str]]] = {
    "crossover": _Reader.pair,
    "best": _Reader.among,
    "difference": _Reader.pair,
    "correlation": _Reader.every,
}
_PLANNERS: dict[Kind, Callable[[_Reader, Sequence[str]], Planned]] = {
    "crossover": _crossover,
    "best": _best,
    "difference": _difference,
    "correlation": _correlation,
}
