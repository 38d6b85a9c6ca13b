"""Who may import whom, read from the imports themselves: a house whose stairs only lead down."""

import ast
import subprocess
import sys
from collections import defaultdict
from functools import cache
from pathlib import Path

import pytest

# From the ground up: each may import itself and what is below it.
ORDER = (
    "pruners",
    "sweep.foreign",
    "sweep.version",
    "sweep.errors",
    "sweep.reporter",
    "sweep.shipped",
    "sweep.parts",
    "sweep.seeds",
    "sweep.means",
    "sweep.roles",
    "sweep.store",
    "sweep.data",
    "sweep.models",
    "sweep.names",
    "sweep.pruning_fields",
    "sweep.config",
    "sweep.arms",
    "sweep.questions",
    "sweep.trackers",
    "sweep.rules",
    "sweep.study",
    "sweep.trial",
    "sweep.plan",
    "sweep.engine",
    "sweep.check",
    "sweep.options",
    "sweep.search",
    "sweep.asking",
    "sweep.launching",
    "sweep.slurm",
    "sweep.launch",
    "analysis.cells",
    "analysis.tables",
    "analysis.glossary",
    "analysis.warehouse",
    "analysis.output",
    "analysis.statistics",
    "analysis.charts",
    "analysis.page",
    "analysis.questions",
    "analysis.report",
    "analysis",
    "sweep.python",
    "sweep.shell",
)
# Of `sweep`, what analyses may import: without torch, without Ray.
FOR_ANALYSES = (
    "sweep.store",
    "sweep.config",
    "sweep.names",
    "sweep.parts",
    "sweep.arms",
    "sweep.trackers",
    "sweep.errors",
    "sweep.foreign",
    "sweep.means",
    "sweep.questions",
    "sweep.data.catalog",
)
FILES = {
    ".".join(path.with_suffix("").parts).removesuffix(".__init__"): path
    for package in ("pruners", "sweep", "analysis")
    for path in sorted(Path(package).rglob("*.py"))
}


@cache
def nodes(path):
    """All of a file's syntax."""
    return list(ast.walk(ast.parse(path.read_text())))


def imports(path):
    """Every module that a file imports, and its line; those of types alone too."""
    for node in nodes(path):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}:{node.lineno}: imports are absolute"
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                yield (whole if whole in FILES else node.module), node.lineno


def wing(module):
    """The place of a module in the order, the nearest that is named."""
    while module and module not in ORDER:
        module = module.rpartition(".")[0]
    return module


def arrows():
    """Each import of a module of ours, and where it stands."""
    return [
        (module, target, f"{path}:{line}")
        for module, path in FILES.items()
        for target, line in imports(path)
        if target.split(".")[0] in ("pruners", "sweep", "analysis")
    ]


def test_every_module_has_its_place():
    assert {module for module in FILES if not wing(module)} <= {"sweep"}


def test_no_arrow_runs_up():
    place = {name: number for number, name in enumerate(ORDER)}
    up = [
        f"{where}: {target}"
        for module, target, where in arrows()
        if target != "sweep" and module != "sweep" and place[wing(target)] > place[wing(module)]
    ]
    assert not up


def test_no_circle_of_files():
    below = defaultdict(set)
    for module, target, _ in arrows():
        if target != module and FILES[target].name != "__init__.py":
            below[module].add(target)
    done, under_way = set(), []

    def visit(module):
        assert module not in under_way, " -> ".join([*under_way[under_way.index(module) :], module])
        if module not in done:
            under_way.append(module)
            for target in sorted(below[module]):
                visit(target)
            under_way.pop()
            done.add(module)

    for module in FILES:
        visit(module)


@pytest.mark.parametrize(
    ("library", "homes"),
    [
        ("ray", ("sweep.engine",)),
        ("optuna", ("sweep.search", "sweep.study.space")),
        ("mlflow", ("sweep.trackers.mlflow",)),
        ("tensorboard", ("sweep.trackers.tensorboard",)),
        ("wandb", ("sweep.trackers.wandb",)),
    ],
)
def test_each_of_these_libraries_has_one_home(library, homes):
    importing = {
        module
        for module, path in FILES.items()
        for target, _ in imports(path)
        if target.split(".")[0] == library and not module.startswith(homes)
    }
    assert not importing


def test_what_ray_does_not_document_is_used_in_one_file():
    using = {
        module
        for module, path in FILES.items()
        for target, _ in imports(path)
        if target.startswith("ray.") and "._" in target
    }
    assert using == {"sweep.engine.ray_private"}


def test_torch_is_not_imported_by_analyses_nor_by_what_is_on_disk():
    importing = {
        module
        for module, path in FILES.items()
        if module.startswith(("analysis", "sweep.store"))
        for target, _ in imports(path)
        if target.split(".")[0] in ("torch", "torchvision")
    }
    assert importing == {"sweep.store.states"}


def test_analyses_know_of_a_sweep_only_what_lies_on_disk_and_what_fields_are():
    foreign = {
        f"{where}: {target}"
        for module, target, where in arrows()
        if module.startswith("analysis")
        and target.startswith("sweep.")
        and not target.startswith(FOR_ANALYSES)
    }
    assert not foreign


def functions():
    for path in FILES.values():
        for node in nodes(path):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                yield f"{path}:{node.lineno} {node.name}", node


def test_files_are_short():
    lines = {path: len(path.read_text().splitlines()) for path in FILES.values()}
    assert not {str(path): count for path, count in lines.items() if count > 320}


def test_functions_are_short():
    assert not {name: n for name, node in functions() if (n := node.end_lineno - node.lineno + 1) > 60}


def test_no_call_has_to_count_its_arguments():
    def positional(node):
        names = [argument.arg for argument in (*node.args.posonlyargs, *node.args.args)]
        return len(names) - (names[:1] in (["self"], ["cls"]))

    # The options of a command are named on the command line.
    commands = {"launch", "search"}
    assert not {
        name: n for name, node in functions() if node.name not in commands and (n := positional(node)) > 6
    }


@pytest.mark.slow
def test_each_package_names_its_public_surface_and_is_typed():
    """Names come with the package, whatever else was imported."""
    packages = ("analysis", "pruners", "sweep")
    code = "scope = {{}}; exec('from {0} import *', scope); import {0}; print(sorted({{*{0}.__all__}} - {{*scope}}))"
    script = "\n".join(map(code.format, packages))
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n" * 3
    assert all(Path(package, "py.typed").exists() for package in packages)
