"""Kill the worker and the driver of one long trial, and see how much is lost, and that its result is equal.

python -m tests.integration.long --kills 10
"""

import argparse
import os
import random
import signal
import tempfile
import time
from pathlib import Path

import analysis
from tests.integration.launching import launch, rows, undisturbed, workers

STUDY = """\
name: long
dataset: digits
model: conv-5
batch_size: 16
epochs: {epochs}
lr: 0.1
lr_schedule: cosine
sparsity: 0.95
criterion: snip
prune_epoch: {prune}
seed: 0
"""
STEPS = 80  # of an epoch
# Seconds that a checkpoint may come late: it is made between two steps, and it has to be written.
LATE = 1.0


class Long:
    """A launch of one trial, and who is killed meanwhile.

    Attributes:
        lost: for each kill, seconds of the trial since its last checkpoint.
    """

    def __init__(self, path, results, minutes):
        self.words = [path, "--results", results, "--workers", 1, "--max-retries", 100]
        self.words += ["--checkpoint-minutes", minutes]
        self.running, self.driver = results / "long" / "running", None
        self.lost = []

    def drive(self):
        if self.driver is None or self.driver.poll() is not None:
            self.driver = launch(*self.words)

    def written(self):
        """When the last checkpoint was written; 0: there is none."""
        try:
            return max((path.stat().st_mtime for path in self.running.glob("*.pt")), default=0)
        except FileNotFoundError:  # replaced by the next
            return self.written()

    def kill(self, what, after):
        """Kill a worker or the driver once it has left a checkpoint, after some seconds; False if all is over."""
        self.drive()
        found = []
        # The worker of a driver that was killed may leave another one, and end before it is killed.
        while not found:
            began, deadline = time.time(), time.monotonic() + 180
            while self.written() < began:
                if self.driver.poll() is not None:
                    return False
                assert time.monotonic() < deadline, "no checkpoint within 180 s"
                time.sleep(0.01)
            time.sleep(after)
            if self.driver.poll() is not None:
                return False
            found = [self.driver.pid] if what == "driver" else workers({os.getpid()})
        for pid in found:
            os.kill(pid, signal.SIGKILL)
        now = time.time()
        self.lost.append(now - self.written())
        if what == "driver":
            self.driver.communicate()
        return True

    def finish(self):
        self.drive()
        out, err = self.driver.communicate(timeout=600)
        assert self.driver.returncode == 0, (out, err)

    def close(self):
        if self.driver and self.driver.poll() is None:
            self.driver.kill()
            self.driver.communicate()


def ordeal(folder, whom, minutes, epochs=200, seed=0):
    """Kill them, one after another; seconds of the trial that each kill lost."""
    path, draw = folder / "long.yaml", random.Random(seed)
    path.write_text(STUDY.format(epochs=epochs, prune=epochs // 2))
    trial = Long(path, folder / "results", minutes)
    try:
        for what in whom:
            assert trial.kill(what, draw.uniform(0, 2 * 60 * minutes)), "it was over before"
        trial.finish()
    finally:
        trial.close()
    assert rows(folder / "results") == undisturbed(path), "equal, bit by bit"
    [steps] = analysis.open(folder / "results").execute("SELECT trained_steps FROM trials").fetchone()
    assert steps == epochs * STEPS, "each step counts once"
    left = [*trial.running.glob("*")] if trial.running.exists() else None
    assert left is None, left
    return trial.lost


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--minutes", type=float, default=0.02)
    parser.add_argument("--epochs", type=int, default=200)
    words = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        whom = [("worker", "worker", "worker", "driver")[number % 4] for number in range(words.kills)]
        lost = ordeal(Path(scratch), whom, words.minutes, words.epochs)
    most = 60 * words.minutes
    print(
        f"{len(lost)} kills of a trial of {words.epochs} epochs: at most {max(lost):.2f} s lost each, with a "
        f"checkpoint every {most:.2f} s; equal to the undisturbed trial, bit by bit"
    )
    assert max(lost) <= most + LATE
