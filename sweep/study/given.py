"""Studies given by Python values: `sweep.Study(dataset="digits", …)`, and `sweep.load("s.yaml", epochs=160)`.

The values are written as YAML and read as a study file is, with the same errors: these name the argument.
"""

import dataclasses
import math
import sys
from collections.abc import Callable, Iterable, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

import yaml

from sweep.errors import BadInput
from sweep.study import study
from sweep.study.document import GIVEN, Document, printable, quoted

# The name of a study that gives itself none.
_UNNAMED = Path("study")
# The most values of a list. A longer range is written as a span.
_MOST_LISTED = 10_000
_TEXT = "tag:yaml.org,2002:str"


class Study(study.Study):
    """A study given by Python values: each key that a study file may have is an argument.

        sweep.Study(dataset="digits", model="conv-5", epochs=2, criterion=["snip", "random"], sparsity=0.9)

    A list, a range or an array is an axis. Parts of one's own are named by file and function, or are
    functions that are imported from a file. File names go from the current folder. The name is by default
    `study`.
    """

    def __init__(self, values: Mapping[str, Any] | None = None, /, **fields: Any) -> None:
        """Read and validate the values.

        Args:
            values: of keys that are no Python names, such as `criterion.power`.
            fields: of the other keys.

        Raises:
            BadInput: one line with the argument, and what to correct.
        """
        read = study.read(_Given({**(values or {}), **fields}), _UNNAMED)
        super().__init__(**{each.name: getattr(read, each.name) for each in dataclasses.fields(read)})


def load(path: str | Path, /, **values: Any) -> study.Study:
    """Read and validate a study file.

    Args:
        values: that replace those of the file, as `--set` does; `**{"seed+": [5, 6]}` adds some.

    Raises:
        BadInput: one line with the file and the line number, or the value, and what to correct.
    """
    settings = [f"{name}={_written(_plain(name, value))}" for name, value in values.items()]
    return study.load(path, settings=settings)


class _Given(Document):
    """Python values as a study."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        self._values = {str(name): _plain(name, value) for name, value in values.items()}
        text = yaml.safe_dump(self._values, sort_keys=False, allow_unicode=True)
        super().__init__(f"{GIVEN})", text.encode())

    def root(self) -> yaml.Node | None:
        """The node of all values; each value knows its argument."""
        whole = super().root()
        assert whole is not None
        pairs = []
        for name, value in self._values.items():
            written = _written(value)
            node = Document(f"{GIVEN}{printable(quoted(f'{name}={written}'))})", written.encode()).root()
            assert node is not None
            pairs.append((yaml.ScalarNode(_TEXT, name, node.start_mark, node.end_mark), node))
        return yaml.MappingNode(whole.tag, pairs, whole.start_mark, whole.end_mark)


def _written(value: Any) -> str:
    """A plain value as YAML, on one line."""
    text: str = yaml.safe_dump(
        value, default_flow_style=True, sort_keys=False, allow_unicode=True, width=math.inf
    )
    return text.removesuffix("...\n").strip()


def _plain(name: str, value: Any, depth: int = 9) -> Any:
    """A value as YAML has it: numbers, text, lists and mappings.

    Raises:
        BadInput: it is no value of a study.
    """
    if isinstance(value, Mapping) and depth:
        return {str(key): _plain(name, each, depth - 1) for key, each in value.items()}
    if value is None or isinstance(value, bool):
        return value
    for kind in (str, int, float):
        if isinstance(value, kind):
            return kind(value)  # a number of NumPy or an enumeration's member is of such a kind too
    if isinstance(value, Path):
        return str(value)
    if hasattr(value, "tolist"):  # an array's, and a number's of NumPy
        return _plain(name, value.tolist(), depth - 1)
    if callable(value):
        return _reference(name, value)
    if isinstance(value, range) and value.step == 1 and len(value) > _MOST_LISTED:
        return f"{value[0]}..{value[-1]}"
    if isinstance(value, Iterable) and not isinstance(value, bytes) and depth:
        listed = [_plain(name, each, depth - 1) for each in islice(value, _MOST_LISTED + 1)]
        if len(listed) > _MOST_LISTED:
            raise BadInput(f"{GIVEN}{name}): more than {_MOST_LISTED:,} values: give a range(first, end)")
        return listed
    kind_of = type(value).__name__
    raise BadInput(f"{GIVEN}{name}): {kind_of} is no value of a study: give numbers, text, or lists of these")


def _reference(name: str, function: Callable[..., Any]) -> str:
    """The reference of a function or class that is imported from a file, as a study file writes it.

    Raises:
        BadInput: no file that others can read has it.
    """
    module, own = str(getattr(function, "__module__", "")), str(getattr(function, "__qualname__", ""))
    file = getattr(sys.modules.get(module), "__file__", None)
    if module == "__main__" or not file or not own.isidentifier():
        called = own if own.isidentifier() else "mine"
        raise BadInput(
            f"{GIVEN}{name}={own or function}): a trial reads a part's code from a file: write it to one (in "
            f"a notebook with %%writefile parts.py) and give {name}='parts.py:{called}'"
        )
    path = Path(file)
    if "." in module or path.name != f"{module}.py":
        return f"{module}:{own}"
    return f"{path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path}:{own}"
