"""A command line in this process, which is faster than a process of its own."""

import contextlib
import io
import subprocess
import sys
from unittest import mock

import pytest


def run(main, *words):
    """Call the function of a command line: what it prints, and how it exits."""
    out, err = io.StringIO(), io.StringIO()
    with (
        mock.patch.object(sys, "argv", [main.__module__, *map(str, words)]),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
        pytest.raises(SystemExit) as ended,
    ):
        main()
    return subprocess.CompletedProcess(words, ended.value.code or 0, out.getvalue(), err.getvalue())
