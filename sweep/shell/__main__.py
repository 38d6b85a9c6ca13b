"""`secateur COMMAND …`, or `python -m sweep.shell COMMAND …`."""

import os
import signal
import sys
from importlib import import_module
from typing import NoReturn

import typer

from sweep import version
from sweep.errors import command
from sweep.shell.commands import COMMANDS

PROGRAM = "secateur"
# Shells that complete a command line say so here.
_COMPLETE = "_SECATEUR_COMPLETE"
# With it, Typer takes the name of a shell.
_NAMED_SHELL = "_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION"


def _commands() -> typer.Typer:
    """The commands by name and help, for `secateur --help` and for errors."""
    app = typer.Typer(
        help="Sweep studies of neural-network pruning.",
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
    )
    for name, one in COMMANDS.items():
        app.command(name, help=one.help)(lambda: None)
    return app


def main() -> NoReturn:
    """Run the command that the first word names, with the other words."""
    if _COMPLETE in os.environ:
        from sweep.shell.completion import complete

        complete(PROGRAM)
    name, *words = sys.argv[1:] or ["--help"]
    if name.endswith("-completion"):
        from sweep.shell import notes

        notes.read()  # now, so that the first completion need not wait
        if words:  # Typer would look for the shell that it is called from, whatever shell is named
            os.environ[_NAMED_SHELL] = "1"
    if name not in COMMANDS:
        sys.argv[1:] = [name, *words]
        command(_commands(), PROGRAM)
    if words == ["--version"]:
        sys.exit(print(version.line()))
    # Every program finds its own words. Its imports take seconds, before which there is nothing to save.
    sys.argv[1:] = words
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, lambda *_: os._exit(130))
    sys.exit(import_module(COMMANDS[name].module).main(f"{PROGRAM} {name}"))


if __name__ == "__main__":
    main()
