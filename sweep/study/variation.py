"""The nodes of a study, with those of the study that it extends and those that the command line sets.

A variation is resolved before any value is read: what remains is the one flat study that it stands for.
"""

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path

import yaml

from sweep import shipped
from sweep.study import space_reader
from sweep.study.axes import LENGTHS
from sweep.study.document import SET, Document, is_file, listed, origin_of, printable, quoted
from sweep.study.fields import NAMES, Values
from sweep.study.library import DOTTED

Nodes = Mapping[str, yaml.Node]

EXTENDS = "extends"
# The keys that say what a study is, not how it trains: a study that extends another has its own.
_NOT_INHERITED = ("name", "description", "paper")
# The lists beside the axes, to which a variation can add.
_LISTS = ("blocks", "metrics", "tags")
KEYS = (*NAMES, *_NOT_INHERITED, *_LISTS, "search", "question", "keep", "price_per_gpu_hour", EXTENDS)
# Keys that begin so hold anchors, and are otherwise ignored.
_HELPER = "x-"
_PATH = Values(str)
_MAPPING, _SEQUENCE, _TEXT = (f"tag:yaml.org,2002:{kind}" for kind in ("map", "seq", "str"))


def read(document: Document, path: Path, settings: Sequence[str]) -> tuple[dict[str, yaml.Node], bool]:
    """The nodes of the flat study by key, and whether it is another study than the file alone.

    Args:
        path: of the study file.
        settings: of the command line: `FIELD=VALUES`.

    Raises:
        BadInput: a key is unknown, or the study cannot be extended so.
    """
    chain, files = [_keys(document)], [path]
    while EXTENDS in chain[-1]:
        files.append(_extended(document, chain[-1].pop(EXTENDS), files))
        chain.append(_keys(Document.of_file(files[-1])))
    nodes = chain.pop()
    while chain:
        inherited = {key: node for key, node in nodes.items() if key not in _NOT_INHERITED}
        nodes = _Flat(document, inherited).vary(chain.pop())
    if settings:
        nodes = _Flat(document, nodes).vary(_set(document, settings))
    return nodes, bool(settings) or len(files) > 1


def text(nodes: Nodes, recipes: Mapping[str, Nodes]) -> str:
    """A flat study as YAML, which reads as the same study.

    Args:
        recipes: reference → fields, of the recipes of one's own that the study names. A key `x-recipes` keeps
            them: they are in files that may change.
    """
    kept = dict(nodes)
    if recipes:
        kept["x-recipes"] = _mapping({name: _mapping(fields) for name, fields in recipes.items()})
    return yaml.serialize(_mapping(kept), Dumper=yaml.SafeDumper, allow_unicode=True)


def _keys(document: Document) -> dict[str, yaml.Node]:
    """The nodes of a file by key, without helper keys."""
    root = document.root()
    if root is None:
        raise document.error(
            document.at(), "the file is empty; see docs/studies.md for what a study looks like"
        )
    nodes = document.mapping(root, "a study", KEYS, DOTTED, lambda key: key.startswith(_HELPER) or _adds(key))
    for key, node in nodes.items():
        if _adds(key) and EXTENDS not in nodes:
            raise document.error(
                origin_of(node), f"{key} adds to a study that this one extends: none is named"
            )
    return {key: node for key, node in nodes.items() if not key.startswith(_HELPER)}


def _adds(key: str) -> bool:
    """Whether a key, such as `seed+`, adds values."""
    name = key.removesuffix("+")
    return key != name and (name in NAMES or name in _LISTS or name.partition(".")[0] in DOTTED)


def _extended(document: Document, node: yaml.Node, files: Sequence[Path]) -> Path:
    """The file that a node names.

    Args:
        files: that extend one another up to the node's.
    """
    name: str = document.value(EXTENDS, node, _PATH)
    path, fault = files[-1].parent / name, ""
    if not is_file(path) and name in shipped.studies():
        path = shipped.studies()[name]
    if not is_file(path):
        near = get_close_matches(path.name, _beside(path), n=1, cutoff=0.5)
        fault = f"there is no file {quoted(str(path))}" + (f"; did you mean {near[0]}?" if near else "")
    elif path.resolve() in [file.resolve() for file in files]:
        fault = "a circle: that study extends this one, or is this one"
    if fault:
        raise document.error(origin_of(node), f"{EXTENDS} {quoted(name)}: {fault}")
    return path


def _beside(path: Path) -> list[str]:
    """The names of the YAML files in the folder of a path."""
    try:
        return [each.name for each in path.parent.iterdir() if each.suffix in (".yaml", ".yml")]
    except (OSError, ValueError):
        return []


def _set(document: Document, settings: Sequence[str]) -> dict[str, yaml.Node]:
    """The nodes that the command line sets."""
    pairs = []
    for setting in settings:
        key, equals, written = setting.partition("=")
        argument = Document(f"{SET}{printable(quoted(setting))}", written.encode(errors="surrogateescape"))
        node = argument.root()
        if not equals or node is None:
            raise document.error(argument.at(), "write FIELD=VALUES, as in epochs=160 or 'seed=[0, 1]'")
        pairs.append((yaml.ScalarNode(_TEXT, key.strip(), node.start_mark, node.end_mark), node))
    keys = [key for key in KEYS if key != EXTENDS]
    mark = pairs[0][0].start_mark
    return document.mapping(yaml.MappingNode(_MAPPING, pairs, mark), "a study", keys, DOTTED, _adds)


def blocks(document: Document, node: yaml.Node | None) -> list[tuple[dict[str, yaml.Node], yaml.Node]]:
    """The blocks of a study: the nodes of each by key, and the block's own node; None: there are none."""
    if node is None:
        return []
    if not isinstance(node, yaml.SequenceNode) or not node.value:
        raise document.error(origin_of(node), "blocks is a list of mappings, each with its own axes")
    return [(document.mapping(each, "a block", NAMES, DOTTED), each) for each in node.value]


class _Flat:
    """A study that is being varied: its nodes by place, as a field can be given at the top, in blocks and in
    the space of a search.
    """

    def __init__(self, document: Document, nodes: Nodes) -> None:
        self._document = document
        self._top = dict(nodes)
        self._blocks_at, self._search_at = self._top.pop("blocks", None), self._top.pop("search", None)
        self._blocks = blocks(document, self._blocks_at)
        self._search, self._space = self._read_search(self._search_at)

    def vary(self, given: Nodes) -> dict[str, yaml.Node]:
        """The nodes with those of a variation in their place.

        The fields of a variation are for the inherited blocks and space. Its own blocks and its own space
        have the last word.
        """
        for key, node in given.items():
            name = key.removesuffix("+")
            if name in ("blocks", "search"):
                continue
            if key == name:
                self._replace(name, node, given)
            else:
                self._add(name, node)
        for key in ("blocks", "blocks+"):
            if key in given:
                before = self._blocks if key == "blocks+" else []
                self._blocks_at = given[key]
                self._blocks = [*before, *blocks(self._document, self._blocks_at)]
        if "search" in given:
            self._vary_search(given)
        return self._nodes()

    def _read_search(self, node: yaml.Node | None) -> tuple[dict[str, yaml.Node], dict[str, yaml.Node]]:
        """The settings of a search, and its space."""
        if node is None:
            return {}, {}
        search = self._document.mapping(node, "a search", space_reader.KEYS)
        space = search.pop("space", None)
        if space is None:
            return search, {}
        return search, self._document.mapping(space, "a space", space_reader.CHOOSABLE, DOTTED)

    def _replace(self, name: str, node: yaml.Node, given: Nodes) -> None:
        """Give a key its only node; a field leaves the blocks, and remains a dimension if it is one."""
        self._forget(name, [nodes for nodes, _ in self._blocks], given)
        if name in self._space:
            self._space[name] = node
        else:
            self._top[name] = node

    def _forget(self, name: str, places: Sequence[dict[str, yaml.Node]], given: Nodes) -> None:
        """Remove a field from places, and from all places the other length of training."""
        for nodes in places:
            nodes.pop(name, None)
        for other in LENGTHS if name in LENGTHS else ():
            if other != name and other not in given:
                for nodes in (self._top, self._space, *(nodes for nodes, _ in self._blocks)):
                    nodes.pop(other, None)

    def _add(self, name: str, node: yaml.Node) -> None:
        """Add values to a list, in each place that has it."""
        places = [self._top, self._space, *(nodes for nodes, _ in self._blocks)]
        having = [nodes for nodes in places if name in nodes]
        if not having:
            raise self._document.error(
                origin_of(node), f"{name}+: the study has no {name} to add to: write {name}"
            )
        for nodes in having:
            if isinstance(nodes[name], yaml.MappingNode):
                raise self._document.error(
                    origin_of(node), f"{name}+: {name} is a mapping in the space: write {name}"
                )
            values = [*listed(nodes[name]), *listed(node)]
            nodes[name] = yaml.SequenceNode(
                _SEQUENCE, values, node.start_mark, node.end_mark, flow_style=True
            )

    def _vary_search(self, given: Nodes) -> None:
        """Replace settings and dimensions of the search; a field that is now a dimension leaves the top."""
        self._search_at = given["search"]
        search, space = self._read_search(self._search_at)
        for name in space:
            self._forget(name, [self._top] if name not in given else [], given)
        self._search |= search
        self._space |= space

    def _nodes(self) -> dict[str, yaml.Node]:
        nodes = dict(self._top)
        if self._blocks_at is not None:
            marks = self._blocks_at.start_mark, self._blocks_at.end_mark
            nodes["blocks"] = yaml.SequenceNode(_SEQUENCE, [_mapping(*each) for each in self._blocks], *marks)
        if self._search_at is not None:
            space = {"space": _mapping(self._space, self._search_at)} if self._space else {}
            nodes["search"] = _mapping({**space, **self._search}, self._search_at)
        return nodes


def _mapping(nodes: Nodes, at: yaml.Node | None = None) -> yaml.MappingNode:
    """A mapping of nodes, which for errors stands where another node does."""
    marks = (at.start_mark, at.end_mark) if at else (None, None)
    return yaml.MappingNode(
        _MAPPING, [(yaml.ScalarNode(_TEXT, key, *marks), node) for key, node in nodes.items()], *marks
    )
