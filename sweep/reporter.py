"""Where what a command says goes: all of it to people, what matters to people, or facts to programs."""

import json
import math
from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Annotated, Any

import typer
from rich.console import Console

from sweep.errors import ONE_LINE


class Form(StrEnum):
    """How a command answers."""

    TEXT = "text"
    JSON = "json"


FormOption = Annotated[
    Form, typer.Option("--format", help="json: one document on stdout at the end, and all text on stderr")
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="print errors and the end alone")]


class Reporter(Console):
    """A console that keeps facts for programs beside what it prints for people.

    Attributes:
        facts: by name; what JSON can hold.
    """

    def __init__(self, form: Form = Form.TEXT, *, quiet: bool = False) -> None:
        super().__init__(stderr=form is Form.JSON, quiet=quiet)
        self.facts: dict[str, Any] = {}


def note(console: Console, **facts: Any) -> None:
    """Keep facts, if the console keeps any."""
    if isinstance(console, Reporter):
        console.facts |= facts


def conclude(console: Console, text: str) -> None:
    """Print a line that a quiet command prints too."""
    quiet, console.quiet = console.quiet, False
    console.out(text, highlight=False)
    console.quiet = quiet


def reported(form: Form, quiet: bool, work: Callable[[Reporter], int]) -> int:
    """Do the work of a command; where JSON is asked for, its facts are one document at the end.

    Args:
        work: prints to the console, and returns the exit code, which is a fact too.
    """
    console = Reporter(form, quiet=quiet)
    try:
        code = work(console)
    except (*ONE_LINE, KeyboardInterrupt) as error:
        interrupted = isinstance(error, KeyboardInterrupt)
        _end(form, console.facts | {"error": str(error), "exit": 130 if interrupted else 2})
        raise
    _end(form, console.facts | {"exit": code})
    return code


def _end(form: Form, facts: Mapping[str, Any]) -> None:
    if form is Form.JSON:
        print(json.dumps(_plain(facts), indent=1, default=str))


def _plain(value: Any) -> Any:
    """A value without numbers that JSON does not have, which are null."""
    if isinstance(value, Mapping):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
