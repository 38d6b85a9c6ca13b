"""Errors that a person can cause or mend, and how a command reports them: as one line on stderr."""

import io
import locale
import os
import signal
import sys
from contextlib import redirect_stderr
from typing import Annotated, Any, NoReturn, TextIO, cast

import typer
from typer.core import TyperCommand, TyperOption
from typer.main import get_command

from sweep.foreign import Plain
from sweep.version import line as version_line


class BadInput(Exception):
    """An error that the user can correct. The message is one line and says what to do.

    Bytes of a file name that are not UTF-8 are escaped in the message, so that any stream can print it.
    """

    def __init__(self, message: str) -> None:
        super().__init__(_printable(message))


class StoreError(OSError):
    """A request to an object store that still fails after all retries. The message is one line."""

    def __init__(self, message: str) -> None:
        super().__init__(_printable(message))


# Errors whose message is all that a command reports.
ONE_LINE = (BadInput, StoreError)


def _printable(message: str) -> str:
    return message.encode(errors="backslashreplace").decode()


class _Once(TyperCommand):
    """A command that refuses an option with a second value, which would silently replace the first."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse the arguments; Typer's own method would keep only the last value."""
        _, _, options = self.make_parser(ctx).parse_args(args=[*args])
        for option in options:
            single = isinstance(option, TyperOption) and not (option.multiple or option.is_flag)
            if single and options.count(option) > 1:
                raise BadInput(f"{max(option.opts, key=len)}: given more than once: give it once")
        return super().parse_args(ctx, args)


def command(app: typer.Typer, program: str) -> NoReturn:
    """Run a command line and exit.

    An error of `ONE_LINE`, or a wrong option, is one line on stderr and exit code 2; Ctrl-C is exit code 130.
    """
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    _speak_utf8()
    for each in app.registered_commands:
        each.cls = _Once
    # Error messages quote files, rows and names, which may contain terminal controls.
    with redirect_stderr(cast(TextIO, Plain(sys.stderr))):
        try:
            code = _with_version(app)(prog_name=program, standalone_mode=False)
        except ONE_LINE as error:
            sys.exit(_refuse(str(error)))
        except (KeyboardInterrupt, typer.Abort):
            sys.exit(130)
        except Exception as error:
            if str(error) == "Query interrupted":  # DuckDB's error after Ctrl-C
                sys.exit(130)
            # Typer's own errors, such as an unknown option or a missing value.
            if hasattr(error, "format_message"):
                sys.exit(_refuse(f"{program}: {error.format_message()} (see --help)"))
            raise
        sys.exit(code or 0)


def _with_version(app: typer.Typer) -> Any:
    """The command of an application, with `--version`."""
    made, other = get_command(app), typer.Typer()
    other.command()(_versions)
    made.params += [option for option in get_command(other).params if option.name == "version"]
    return made


def _say_version(asked: bool) -> None:
    if asked:
        print(version_line())
        raise typer.Exit


def _versions(
    version: Annotated[
        bool,
        typer.Option(
            "--version",
            callback=_say_version,
            is_eager=True,
            expose_value=False,
            help="say which version this is",
        ),
    ] = False,
) -> None:
    """Nothing: every command takes the option from here."""


def _speak_utf8() -> None:
    """Restart the process in Python's UTF-8 mode if the locale has another encoding.

    Study files, results, file names, arguments and output are UTF-8 everywhere. Python decides how it decodes
    arguments and file names when it starts, so the mode cannot be switched on later.
    """
    if locale.getencoding().lower() != "utf-8" and not sys.flags.utf8_mode:
        os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], os.environ | {"PYTHONUTF8": "1"})
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # file names may have any bytes


def _refuse(message: str) -> int:
    print(" ".join(message.split()), file=sys.stderr)
    return 2
