"""A service can neither hold up a launch nor break it, and the end says what it has."""

import threading
import time

import pytest

from sweep.trackers import background
from sweep.trackers.background import Background
from tests.sweep.trackers.made import rows


class Failing:
    """A service that takes a trial when it is let, and fails as often as it is told to."""

    def __init__(self, failures=0):
        self.failures, self.open, self.logged = failures, threading.Event(), []
        self.open.set()

    def __str__(self):
        return "service"

    def tracker(self, folder):
        return self

    def log(self, run):
        self.open.wait()
        if self.failures:
            self.failures -= 1
            raise OSError("no\nanswer")
        self.logged.append(run.trial_id)
        return True

    def close(self):
        pass


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch):
    monkeypatch.setattr(background, "_FIRST_PAUSE", 0.01)
    monkeypatch.setattr(background, "_SAYS_AFTER", 0.01)


def begun(service, folder):
    said = []
    return Background(service, folder, (), said.append), said


def test_every_trial_is_logged_in_order_and_the_time_is_told(tmp_path):
    service = Failing()
    log, said = begun(service, tmp_path)
    names = [f"{number:016x}" for number in range(50)]
    for name in names:
        log.add(*rows(name))
    log.close(60)
    assert service.logged == names
    assert said[-1].startswith("logged 50 trials to service, ") and "ms of the driver's time each" in said[-1]


def test_failures_are_one_line_and_later_trials_are_tried(tmp_path):
    service = Failing(failures=2)
    log, said = begun(service, tmp_path / "a b")
    for number in range(5):
        log.add(*rows(f"{number}"))
    deadline = time.monotonic() + 30
    while service.failures and time.monotonic() < deadline:
        time.sleep(0.01)
    log.close(60)
    command = f"python -m analysis export service --results '{tmp_path}/a b'"
    assert said[0] == f"service: no answer; no result is lost; what is missed there: {command}"
    assert len(said) == 2 and "logged 3 of 5 trials" in said[1] and said[1].endswith(f"; the rest: {command}")


@pytest.mark.slow
def test_a_service_that_hangs_is_left_after_the_given_seconds(tmp_path):
    service = Failing()
    service.open.clear()
    log, said = begun(service, tmp_path)
    log.add(*rows())
    began = time.monotonic()
    log.close(0.2)
    assert time.monotonic() - began < 5
    assert "waits up to 0 s until service has 1 more trials" in said[0] and "logged 0 of 1 trial " in said[1]
    service.open.set()


def test_what_waits_for_a_service_is_bounded(tmp_path, monkeypatch):
    monkeypatch.setattr(background, "_MOST_WAITING", 10)
    service = Failing()
    service.open.clear()
    log, said = begun(service, tmp_path)
    for number in range(100):
        log.add(*rows(f"{number}"))
    service.open.set()
    log.close(60)
    assert 4 <= len(service.logged) <= 6 and f"logged {len(service.logged)} of 100 trials" in said[-1]
