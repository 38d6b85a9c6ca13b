"""`python -m sweep.check FILE.py:NAME`: try a criterion, a network or a data set by itself."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from sweep.check.criterion import check_criterion, criterion_digest
from sweep.check.dataset import check_dataset, dataset_digest
from sweep.check.model import check_model, model_digest
from sweep.check.report import Report
from sweep.check.resolving import KINDS, resolve
from sweep.errors import BadInput, command
from sweep.reporter import Form, FormOption, Quiet, reported

app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)

_CHECKS: dict[str, tuple[Any, Any]] = {
    "criterion": (check_criterion, criterion_digest),
    "model": (check_model, model_digest),
    "dataset": (check_dataset, dataset_digest),
}
# The options that each kind's digest depends on.
_READ = {"criterion": ("seed",), "model": ("shape", "classes", "seed"), "dataset": ("root",)}


@app.command()
def check(
    reference: Annotated[str, typer.Argument(metavar="part", help="FILE.py:NAME or PACKAGE.MODULE:NAME")],
    *,
    kind: Annotated[
        str | None, typer.Option(help=f"{', '.join(KINDS)}; default: its parameters tell")
    ] = None,
    given: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="a parameter of the part; repeatable"),
    ] = None,
    seed: Annotated[int, typer.Option(help="criterion, model: of random numbers")] = 0,
    shape: Annotated[str | None, typer.Option(help="model: of an input, such as 3,32,32")] = None,
    classes: Annotated[int, typer.Option(min=1, help="model: number of outputs")] = 10,
    data_root: Annotated[Path, typer.Option(help="data set: folder of the data sets")] = Path("data"),
    task: Annotated[str | None, typer.Option(help="data set: what the targets are")] = None,
    sheet: Annotated[Path | None, typer.Option(help="data set: a PNG file for its first images")] = None,
    digest_only: Annotated[bool, typer.Option("--digest", hidden=True)] = False,
    form: FormOption = Form.TEXT,
    quiet: Quiet = False,
) -> int:
    """Try a part of your own by itself. It runs its code.

    Exit code 0: all holds; 1: something does not; 2: bad input.
    """

    def work(console: Console) -> int:
        if kind not in (None, *KINDS):
            raise BadInput(f"--kind {kind}: {', '.join(KINDS)}")
        options = {"shape": _shape(shape), "classes": classes, "seed": seed, "root": data_root}
        parameters = dict(map(_parameter, given or ()))
        found, part = resolve(reference, kind)
        tried, digest = _CHECKS[found]
        read = {name: options[name] for name in _READ[found]}
        if digest_only:
            print(digest(part, parameters=parameters, **read))
            return 0
        more = {"task": task, "sheet": sheet} if found == "dataset" else {}
        report: Report = tried(part, parameters=parameters, **read, **more)
        if report.holds:
            _compare(report, digest(part, parameters=parameters, **read))
        return report.end(console)

    return reported(Form.TEXT if digest_only else form, quiet, work)


def _compare(report: Report, own: str) -> None:
    """Does another process, with other hashes of strings, get the same?"""
    done = subprocess.run(
        [sys.executable, "-m", "sweep.check", *sys.argv[1:], "--digest"],
        env=os.environ | {"PYTHONHASHSEED": "1"},
        capture_output=True,
        encoding="utf-8",
        errors="replace",
    )
    same = done.stdout.split()[-1:] == [own]
    why = (done.stderr.strip().splitlines() or ["expected equal bits"])[-1]
    report.tell("the same in another process", same, "" if same else why)


def _shape(text: str | None) -> tuple[int, ...] | None:
    if text is None:
        return None
    try:
        shape = tuple(int(side) for side in text.split(","))
    except ValueError:
        shape = ()
    if not shape or min(shape) < 1:
        raise BadInput(f"--shape {text}: whole numbers from 1, such as 3,32,32")
    return shape


def _parameter(text: str) -> tuple[str, Any]:
    """Name and value of `power=0.5`; what is no number, true, false or null is text."""
    name, equals, value = text.partition("=")
    if not equals or not name.isidentifier():
        raise BadInput(f"--set {text}: write NAME=VALUE, such as --set power=0.5")
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value


def main(program: str = "sweep.check") -> None:
    """The command line."""
    command(app, program)


if __name__ == "__main__":
    main()
