"""Another user of this machine, who may read the code and write nothing of this one's."""

import os
import shutil
import subprocess

import pytest

_NOBODY = "65534"
# Code and interpreter may lie in folders of this user alone: the other one may read them.
_READS = ("--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search")


def user():
    """Words before a command that make it another user's; the test skips where there can be none."""
    words = ["setpriv", f"--reuid={_NOBODY}", f"--regid={_NOBODY}", "--clear-groups", *_READS]
    if os.getuid() or not shutil.which("setpriv") or subprocess.run([*words, "true"], check=False).returncode:
        pytest.skip("there can be no other user here: that takes root and setpriv")
    return words
