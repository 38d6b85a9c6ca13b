"""The source of a part: its files, and a fingerprint of the statements that decide its numbers.

Nothing here runs the source. It is parsed only.
"""

import ast
import hashlib
import io
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from sweep.errors import BadInput

# Packages that are never a part's own modules, wherever they lie.
_NEVER_OWN = frozenset(sys.stdlib_module_names) | {"sweep", "pruners", "analysis", "torch", "numpy"}
# The largest file, in bytes.
_MOST_BYTES = 4 << 20
# Decorators under which a function or class that nothing names can be left out of the fingerprint. Another
# decorator may enter it into a table.
_HARMLESS = frozenset(
    {
        *("criterion", "rule", "model", "dataset", "loss", "metric", "optimizer", "lr_schedule", "init"),
        *("augment", "cache", "cached_property", "classmethod", "contextmanager", "dataclass", "final"),
        *("lru_cache", "no_grad", "enable_grad", "inference_mode", "overload", "property", "staticmethod"),
        *("script", "wraps"),
    }
)
# Arguments of a part's decorator that change no number.
_ONLY_SAID = frozenset({"source", "equation", "help"})


@dataclass(frozen=True)
class Module:
    """One file of a part.

    Attributes:
        name: by which the part's files import it.
        path: of the file, as errors name it.
        text: of the file.
        package: whether it is the `__init__` of a package.
    """

    name: str
    path: str
    text: str
    package: bool = False


@dataclass(frozen=True)
class Source:
    """The files of a part, and which object in them the part is.

    Attributes:
        module: name of the module that has the object.
        name: of the object.
        modules: of the part.
        fingerprint: 12 hex digits. Comments, formatting, docstrings and definitions that the part does not
            use do not change it.
    """

    module: str
    name: str
    modules: tuple[Module, ...]
    fingerprint: str

    @property
    def digest(self) -> str:
        """16 hex digits of the complete texts."""
        text = repr([(module.name, module.text) for module in self.modules])
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def parse(text: str, path: str) -> ast.Module:
    """The syntax tree of a file.

    Raises:
        BadInput: it is not Python.
    """
    try:
        return ast.parse(text, path)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        at = f":{error.lineno}" if isinstance(error, SyntaxError) and error.lineno else ""
        why = error.msg if isinstance(error, SyntaxError) else str(error) or "nested too deeply"
        raise BadInput(f"{path}{at}: not Python: {why}") from None


def read(path: Path) -> str:
    """The text of a file, with the line ends of Unix.

    Raises:
        BadInput: it cannot be read, or is too large.
    """
    try:
        with path.open("rb") as file:
            content = file.read(_MOST_BYTES + 1)
        if len(content) > _MOST_BYTES:
            raise BadInput(f"{path}: over {_MOST_BYTES >> 20} MiB: no file of code is so large")
        return io.StringIO(content.decode("utf-8-sig"), newline=None).read()
    except OSError as error:
        raise BadInput(f"{path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise BadInput(f"{path}: not a text file in UTF-8") from None


def collect(root: Path, module: str, name: str) -> Source:
    """The source of an object: its module, and the modules beside it that these statements import.

    Args:
        root: the folder in which its imports are looked for first.
        module: name of its module under the root.

    Raises:
        BadInput: one of the files cannot be read or is not Python.
    """
    reach = _Reach(root, module, name)
    text = "\n".join(f"# {each}\n{reach.kept(each)}" for each in sorted(reach.modules))
    fingerprint = hashlib.sha256(text.encode()).hexdigest()[:12]
    return Source(module, name, tuple(reach.modules[each] for each in sorted(reach.modules)), fingerprint)


def find(root: Path, name: str) -> tuple[Path, bool] | None:
    """The file of a module under a root, and whether it is a package's; None: there is none."""
    path = root.joinpath(*name.split("."))
    if (path / "__init__.py").is_file():
        return path / "__init__.py", True
    file = path.parent / f"{path.name}.py"
    return (file, False) if file.is_file() else None


class _Reach:
    """The statements that an object depends on, in its module and in those beside it.

    A statement of a module counts, unless it only defines something that no counted statement names. Names
    are compared as words, wherever they stand. So a statement too many may count, never one too few.

    Attributes:
        modules: name → module, of every module with a statement that counts.
    """

    def __init__(self, root: Path, module: str, name: str) -> None:
        self._root = root
        self.modules: dict[str, Module] = {}
        self._statements: dict[str, list[ast.stmt]] = {}
        self._counted: dict[str, set[int]] = {}
        self._words = {name}
        self._enter(module)
        while self._count():
            pass

    def kept(self, module: str) -> str:
        """The counted statements of a module in a form that formatting does not change."""
        counted = sorted(self._counted[module])
        plain = [_Plain().visit(self._statements[module][number]) for number in counted]
        return "\n".join(ast.unparse(ast.fix_missing_locations(statement)) for statement in plain)

    def _enter(self, name: str) -> None:
        """Take a module and the packages that it is in, if they are the part's own."""
        for end in range(1, name.count(".") + 2):
            outer = ".".join(name.split(".")[:end])
            found = find(self._root, outer)
            if outer in self.modules or not found:
                continue
            path, package = found
            text = read(path)
            self.modules[outer] = Module(outer, str(path), text, package)
            self._statements[outer] = parse(text, str(path)).body
            self._counted[outer] = set()

    def _count(self) -> bool:
        """Count the statements that the counted ones need; whether there were any."""
        before = sum(map(len, self._counted.values()))
        for module in list(self.modules):
            for number, statement in enumerate(self._statements[module]):
                if number in self._counted[module] or not self._needs(statement):
                    continue
                self._counted[module].add(number)
                self._words |= set(_words(statement))
                for imported in _imports(statement, self.modules[module]):
                    self._enter(imported)
        return sum(map(len, self._counted.values())) > before

    def _needs(self, statement: ast.stmt) -> bool:
        defined = _only_defines(statement)
        return defined is None or not defined.isdisjoint(self._words)


def _only_defines(statement: ast.stmt) -> frozenset[str] | None:
    """The names that a statement defines if it does nothing else; None: it does something else."""
    if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        harmless = all(last_name(each) in _HARMLESS for each in statement.decorator_list)
        return frozenset({statement.name}) if harmless else None
    if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant):
        return frozenset()
    if isinstance(statement, ast.If) and ast.unparse(statement.test) in (
        "__name__ == '__main__'",
        "TYPE_CHECKING",
    ):
        return frozenset()
    if isinstance(statement, ast.Assign | ast.AnnAssign):
        targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
        acts = any(isinstance(node, ast.Call | ast.Await | ast.NamedExpr) for node in ast.walk(statement))
        if not acts and all(isinstance(target, ast.Name) for target in targets):
            return frozenset(target.id for target in targets if isinstance(target, ast.Name))
    return None


def last_name(node: ast.expr) -> str:
    """The last word of what a decorator calls: `criterion` of `@pruners.criterion(...)`."""
    called = node.func if isinstance(node, ast.Call) else node
    if isinstance(called, ast.Attribute):
        return called.attr
    return called.id if isinstance(called, ast.Name) else ""


def _words(statement: ast.stmt) -> Iterator[str]:
    """Every word of a statement that can name a definition."""
    for node in ast.walk(statement):
        if isinstance(node, ast.Name):
            yield node.id
        elif isinstance(node, ast.Attribute):
            yield node.attr
        elif isinstance(node, ast.alias):
            yield from node.name.split(".")
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield from node.value.replace(".", " ").split()


def _imports(statement: ast.stmt, module: Module) -> Iterator[str]:
    """The modules that a statement of a module imports, by the names that the part's own would have."""
    for node in ast.walk(statement):
        if isinstance(node, ast.Import):
            names: Sequence[str] = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = absolute(node, module)
            names = [base, *(f"{base}.{alias.name}".lstrip(".") for alias in node.names)]
        else:
            continue
        yield from (name for name in names if name and is_own(name))


def absolute(node: ast.ImportFrom, module: Module) -> str:
    """The name of the module that `from … import` names, relative or not."""
    if not node.level:
        return node.module or ""
    around = module.name.split(".") if module.package else module.name.split(".")[:-1]
    base = around[: len(around) - (node.level - 1)]
    return ".".join([*base, *([node.module] if node.module else [])])


def is_own(name: str) -> bool:
    """Whether a module can be one of a part's own."""
    return name.partition(".")[0] not in _NEVER_OWN


class _Plain(ast.NodeTransformer):
    """Takes away what changes no number: docstrings, and arguments of decorators that are only said."""

    def visit(self, node: ast.AST) -> ast.AST:
        """Take it away from a node and from all in it."""
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            if ast.get_docstring(node, clean=False) is not None:
                node.body = node.body[1:] or [ast.Pass()]
            for decorator in node.decorator_list:
                if isinstance(decorator, ast.Call) and last_name(decorator) in _HARMLESS:
                    decorator.keywords = [kw for kw in decorator.keywords if kw.arg not in _ONLY_SAID]
        self.generic_visit(node)
        return node
