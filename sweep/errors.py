"""Errors a person can cause, and the one line in which they are told."""

import sys
from typing import NoReturn

import typer


class BadInput(Exception):
    """Something the user can put right. The message is one line and says what to do."""


def command(app: typer.Typer, program: str) -> NoReturn:
    """Run a command line: a `BadInput` or a wrong option is one line on stderr and exit code 2."""
    try:
        code = app(prog_name=program, standalone_mode=False)
    except BadInput as error:
        sys.exit(_refuse(str(error)))
    except Exception as error:
        # Typer's own errors (an unknown option, a missing value) know how to say themselves.
        if hasattr(error, "format_message"):
            sys.exit(_refuse(f"{program}: {error.format_message()} (see --help)"))
        raise
    sys.exit(code or 0)


def _refuse(message: str) -> int:
    print(" ".join(message.split()), file=sys.stderr)
    return 2
