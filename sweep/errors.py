"""Errors a person can cause, and the one line in which they are told."""

import io
import locale
import os
import signal
import sys
from contextlib import redirect_stderr
from typing import Any, NoReturn, TextIO, cast

import typer
from typer.core import TyperCommand, TyperOption

from sweep.foreign import Plain


class BadInput(Exception):
    """Something the user can put right. The message is one line and says what to do.

    Bytes of a file's name that are no UTF-8 are escaped in it, so that streams and results can have it.
    """

    def __init__(self, message: str) -> None:
        super().__init__(message.encode(errors="backslashreplace").decode())


class _Once(TyperCommand):
    """A command that refuses an option with a second value, which would silently replace the first."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """As the command's own, which keeps the last value."""
        _, _, given = self.make_parser(ctx).parse_args(args=[*args])
        for option in given:
            one = isinstance(option, TyperOption) and not (option.multiple or option.is_flag)
            if one and given.count(option) > 1:
                raise BadInput(f"{max(option.opts, key=len)}: given more than once: give it once")
        return super().parse_args(ctx, args)


def command(app: typer.Typer, program: str) -> NoReturn:
    """Run a command line: a `BadInput` or a wrong option is one line on stderr and exit code 2."""
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    _speak_utf8()
    for each in app.registered_commands:
        each.cls = _Once
    # Errors quote what was read: files, rows, names.
    with redirect_stderr(cast(TextIO, Plain(sys.stderr))):
        try:
            code = app(prog_name=program, standalone_mode=False)
        except BadInput as error:
            sys.exit(_refuse(str(error)))
        except (KeyboardInterrupt, typer.Abort):
            sys.exit(130)
        except Exception as error:
            if str(error) == "Query interrupted":  # as DuckDB says that it was Ctrl-C
                sys.exit(130)
            # Typer's own errors (an unknown option, a missing value) know how to say themselves.
            if hasattr(error, "format_message"):
                sys.exit(_refuse(f"{program}: {error.format_message()} (see --help)"))
            raise
        sys.exit(code or 0)


def _speak_utf8() -> None:
    """Start again in Python's UTF-8 mode where the locale has another encoding.

    Study files, results, names of folders, arguments and answers are UTF-8 everywhere, and Python chooses how
    it reads arguments and names of files as it starts.
    """
    if locale.getencoding().lower() != "utf-8" and not sys.flags.utf8_mode:
        os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], os.environ | {"PYTHONUTF8": "1"})
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # names of files may have any bytes


def _refuse(message: str) -> int:
    print(" ".join(message.split()), file=sys.stderr)
    return 2
