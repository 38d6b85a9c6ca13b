"""What has changed in the text of a study since an earlier launch of it."""

from collections.abc import Iterator, Mapping

import yaml

from sweep.errors import BadInput
from sweep.study.document import Document, listed, printable, quoted, span

# Keys that change no trial.
_ABOUT = ("name", "description", "tags", "paper")
# The most changes that are named.
_MOST_NAMED = 8
# How deep a value of a study is nested.
_DEPTH = 3
Nodes = Mapping[str, yaml.Node]


def changes(text: str, before: str) -> str:
    """What has changed in the text of a flat study, such as `seed 0..4 was 0..2; lr is new: 0.1`.

    The same values in another order, or written in another way, are no change.

    Returns:
        One line; empty: nothing has changed, or a text is no study.
    """
    try:
        (now, blocks), (then, earlier) = _read(text), _read(before)
    except BadInput:
        return ""
    named = [*_between(now, then), *_between_blocks(blocks, earlier)]
    more = [f"{len(named) - _MOST_NAMED} more"] if len(named) > _MOST_NAMED else []
    return printable("; ".join([*named[:_MOST_NAMED], *more]))


def _read(text: str) -> tuple[dict[str, yaml.Node], list[Nodes]]:
    """The nodes of a study by what a person calls them, and the nodes of each block."""
    document = Document("study", text.encode(errors="replace"))
    root = document.root()
    if root is None:
        return {}, []

    def mapping(node: yaml.Node | None) -> dict[str, yaml.Node]:
        return document.mapping(node, "it", (), also=bool) if node else {}

    nodes = mapping(root)
    search, blocks = mapping(nodes.pop("search", None)), nodes.pop("blocks", None)
    recipes = mapping(nodes.pop("x-recipes", None))
    named = {key: node for key, node in nodes.items() if key not in _ABOUT and not key.startswith("x-")}
    named |= {f"space: {key}": node for key, node in mapping(search.pop("space", None)).items()}
    named |= {f"search: {key}": node for key, node in search.items()}
    for recipe, fields in recipes.items():
        named |= {f"{recipe}: {key}": node for key, node in mapping(fields).items()}
    return named, [mapping(node) for node in (listed(blocks) if blocks else [])]


def _between(now: Nodes, then: Nodes, prefix: str = "") -> Iterator[str]:
    for key in dict.fromkeys([*now, *then]):
        if key not in then:
            yield f"{prefix}{key} is new: {_written(now[key])}"
        elif key not in now:
            yield f"{prefix}{key} is gone: it was {_written(then[key])}"
        elif _meaning(now[key]) != _meaning(then[key]):
            yield f"{prefix}{key} {_written(now[key])} was {_written(then[key])}"


def _between_blocks(now: list[Nodes], then: list[Nodes]) -> Iterator[str]:
    """The changes of blocks: those that are equal are left out, the others are compared in their order."""
    meanings = [{key: _meaning(node) for key, node in block.items()} for block in then]
    rest: list[tuple[int, Nodes]] = []
    for number, block in enumerate(now, 1):
        meaning = {key: _meaning(node) for key, node in block.items()}
        if meaning in meanings:
            place = meanings.index(meaning)
            del meanings[place]
            then = then[:place] + then[place + 1 :]
        else:
            rest.append((number, block))
    for (number, block), earlier in zip(rest, then, strict=False):
        yield from _between(block, earlier, f"block {number}: ")
    for number, block in rest[len(then) :]:
        yield f"block {number} is new: {_fields(block)}"
    for block in then[len(rest) :]:
        yield f"a block is gone: {_fields(block)}"


def _fields(block: Nodes) -> str:
    return quoted(", ".join(f"{key} {_written(node)}" for key, node in block.items()) or "without fields")


def _written(node: yaml.Node) -> str:
    """A value as the study writes it, cut if it is long."""
    return quoted(_flow(node, _DEPTH))


def _flow(node: yaml.Node, depth: int) -> str:
    if isinstance(node, yaml.ScalarNode):
        return str(node.value)
    if not depth:
        return "..."
    if isinstance(node, yaml.SequenceNode):
        return f"[{', '.join(_flow(each, depth - 1) for each in node.value)}]"
    pairs = (f"{_flow(key, depth - 1)}: {_flow(value, depth - 1)}" for key, value in node.value)
    return f"{{{', '.join(pairs)}}}"


def _meaning(node: yaml.Node, depth: int = _DEPTH) -> frozenset[object]:
    """The values of a node, whatever their order and their writing."""
    if isinstance(node, yaml.ScalarNode):
        return frozenset(span(node.value) or [_number(node.value)])
    if not depth:
        return frozenset()
    if isinstance(node, yaml.SequenceNode):
        return frozenset().union(*(_meaning(each, depth - 1) for each in node.value))
    return frozenset((_flow(key, depth - 1), _meaning(value, depth - 1)) for key, value in node.value)


def _number(text: str) -> object:
    """A number, as which 0.9 and 0.90 are the same; any other text as it is."""
    try:
        return float(text)
    except ValueError:
        return text
