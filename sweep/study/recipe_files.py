"""Recipes of one's own: mappings of field values in a YAML file. Nothing in the file is executed."""

from collections.abc import Mapping
from functools import cache
from pathlib import Path

import yaml

from sweep.config import FIELDS
from sweep.study import axes
from sweep.study.document import Document, Item, ResolveFrom, is_file, nearest, quoted
from sweep.study.library import PART_FIELDS

# What a study compares stands in the study: a recipe has the other fields.
_FIELDS = tuple(name for name, field in FIELDS.items() if not field.is_required())


class RecipeFiles:
    """The files of recipes that one study names.

    Attributes:
        used: reference → nodes of the recipe's fields, of each recipe that the study names.
    """

    def __init__(self) -> None:
        self.used: dict[str, dict[str, yaml.Node]] = {}
        # A file that many values name is read once.
        self._open = cache(_open)
        self._read = cache(self._read_recipe)

    def recipe(self, reference: str, folder: Path, resolve: ResolveFrom) -> Mapping[str, Item]:
        """The fields of a recipe, each with its value.

        Args:
            reference: `FILE.yaml:NAME`, from a folder.
            resolve: gives what a field of the recipe names by a reference.

        Raises:
            ValueError: there is no such file or recipe.
            BadInput: the file is to correct; the message names it and the line.
        """
        return self._read(reference, folder, resolve)

    def _read_recipe(self, reference: str, folder: Path, resolve: ResolveFrom) -> dict[str, Item]:
        file, _, name = reference.rpartition(":")
        if not is_file(folder / file):
            raise ValueError(f"there is no file {folder / file}")
        document, recipes = self._open(folder / file)
        if name not in recipes:
            raise ValueError(f"{file} has no such recipe; {nearest(name, [*recipes])}")
        document.resolve = resolve
        nodes = document.mapping(recipes[name], f"recipe {quoted(name)}", _FIELDS, PART_FIELDS)
        known = reference in self.used  # the recipe of another folder
        self.used[str(folder / reference) if known else reference] = nodes
        return axes.single(document, nodes, "one value belongs here: put several in the study")


def _open(path: Path) -> tuple[Document, dict[str, yaml.Node]]:
    """A file of recipes, and the node of each recipe by its name. Keys `x-…` hold anchors alone."""
    document = Document.of_file(path)
    root = document.root()
    if root is None:
        raise document.error(document.at(), "the file is empty: give each recipe a name and its fields")
    nodes = document.mapping(root, "a file of recipes", (), also=bool)
    return document, {name: node for name, node in nodes.items() if not name.startswith("x-")}
