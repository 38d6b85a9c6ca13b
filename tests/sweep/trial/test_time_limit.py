"""Code that never ends costs one trial."""

import subprocess
import sys
import time

import pytest

from sweep.trial.time_limit import TooLong, limited


def stubborn(until):
    """Catches every exception that code can be expected to catch."""
    while time.monotonic() < until:
        try:
            while time.monotonic() < until:
                pass
        except Exception:
            continue


def test_a_block_that_never_ends_is_ended():
    with pytest.raises(TooLong), limited(0.1):
        stubborn(time.monotonic() + 60)


@pytest.mark.slow
def test_code_that_catches_even_that_is_told_again_each_second():
    caught = 0

    def swallow():
        nonlocal caught
        while caught < 2:
            try:
                stubborn(time.monotonic() + 60)
            except BaseException:
                caught += 1
        stubborn(time.monotonic() + 60)

    with pytest.raises(TooLong), limited(0.1):
        swallow()
    assert caught == 2


def test_a_block_that_ends_in_time_is_left_alone():
    with limited(30):
        pass
    with limited(float("inf")):
        pass


@pytest.mark.slow
def test_a_process_that_no_signal_reaches_ends():
    """As a loop of C does not let the handler run; here the signal is blocked."""
    script = (
        "import signal, time\nfrom sweep.trial import time_limit\ntime_limit._TIMES, time_limit._SECONDS = 1, 0.1\n"
        "signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGALRM})\n"
        "with time_limit.limited(0.1):\n    time.sleep(60)\n"
    )
    assert subprocess.run([sys.executable, "-c", script], timeout=50).returncode == 1
