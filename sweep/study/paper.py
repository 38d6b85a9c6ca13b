"""The paper that a study reproduces: the `paper:` mapping of a study file, read. It changes no trial."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import yaml

from sweep.study.document import Document, listed, origin_of
from sweep.study.fields import Values

_TEXT = Values(str)
_MUST, _MAY = ("by", "title", "claim"), ("numbers", "made", "differs", "needs")


class Number(NamedTuple):
    """A number of a paper beside ours.

    Attributes:
        of: what it is of, with its unit.
        published: as the paper has it.
        ours: text, or `1.96 ± 0.15 of 3`: mean, standard deviation and number of seeds; empty: not run.
    """

    of: str
    published: str
    ours: str = ""


@dataclass(frozen=True)
class Paper:
    """A paper, and what of it a study reproduces.

    Attributes:
        by: authors and year.
        title: of the paper.
        claim: what the paper says, in one sentence.
        numbers: published ones beside ours.
        made: how ours were made: when, on what, at what cost; empty: they were not.
        differs: what is not reproduced, or done in another way, and why.
        needs: what a run takes that not everybody has, such as hours of a GPU.
    """

    by: str
    title: str
    claim: str
    numbers: tuple[Number, ...] = ()
    made: str = ""
    differs: str = ""
    needs: str = ""


def read(document: Document, node: yaml.Node) -> Paper:
    """The paper of a node.

    Raises:
        BadInput: the node is no such mapping; the message says where and why.
    """
    nodes = document.mapping(node, "a paper", (*_MUST, *_MAY))
    for name in _MUST:
        if name not in nodes:
            raise document.error(origin_of(node), f"paper: {name} is missing; it has {', '.join(_MUST)}")
    given: dict[str, Any] = {
        name: document.value(name, each, _TEXT) for name, each in nodes.items() if name != "numbers"
    }
    return Paper(**given, numbers=_numbers(document, nodes))


def _numbers(document: Document, nodes: Mapping[str, yaml.Node]) -> tuple[Number, ...]:
    if "numbers" not in nodes:
        return ()
    rows = []
    for node in listed(nodes["numbers"]):
        row = document.values("numbers", node, _TEXT) if isinstance(node, yaml.SequenceNode) else []
        if len(row) not in (2, 3):
            raise document.error(
                origin_of(node),
                "numbers: each is a list [of what, published, ours], such as "
                "[LeNet at 95 %, 1.6 %, 1.96 ± 0.15 of 3]",
            )
        rows.append(Number(*row))
    return tuple(rows)
