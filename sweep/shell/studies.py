"""`secateur studies`: list the studies that come along, which are launched by name."""

import textwrap
from typing import NoReturn

import typer
from rich.console import Console

from sweep import shipped
from sweep.errors import command
from sweep.reporter import Form, FormOption, Quiet, conclude, note, reported

app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)


@app.command()
def studies(form: FormOption = Form.TEXT, quiet: Quiet = False) -> int:
    """List the studies that come along: secateur launch NAME runs one, wherever you are."""
    return reported(form, quiet, _list)


def _list(console: Console) -> int:
    known = [
        {"name": name, "path": str(path), "description": shipped.description(path)}
        for name, path in shipped.studies().items()
    ]
    note(console, studies=known)
    widest = max(len(each["name"]) for each in known)
    room = max(20, console.width - widest - 2)
    for each in known:
        said = "" if console.quiet else textwrap.shorten(each["description"], room, placeholder=" …")
        conclude(console, f"{each['name']:{widest}}  {said}".rstrip())
    return 0


def main(program: str = "secateur studies") -> NoReturn:
    """The command line."""
    command(app, program)
