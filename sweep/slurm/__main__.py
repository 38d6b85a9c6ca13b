"""`python -m sweep.slurm STUDY [options of sweep.launch]`: a launch inside an allocation of SLURM.

It is what deploy/slurm.sbatch runs. On one node the launch starts Ray by itself; on several it runs on a Ray
cluster over all of them. The launch ends ahead of the allocation, and the job goes back into the queue until
the study is done.
"""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

import typer

from sweep.errors import BadInput, command
from sweep.slurm import allocation, queue
from sweep.slurm.allocation import Allocation
from sweep.slurm.claim import Claim
from sweep.slurm.cluster import OF_OTHER_CLUSTERS, Cluster
from sweep.slurm.words import value, without
from sweep.store import running
from sweep.store.places import Place, place

app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)

# Seconds before the end of the allocation in which the launch writes what it has: a tenth of the time left,
# within these bounds.
_LEAST_GRACE, _MOST_GRACE = 10.0, 120.0
# Seconds between looks at the claim, and for which a run tries to take the place of an earlier one.
_LOOK, _TAKE = 15.0, 180.0
# Options of which a job that runs again must not run the trials again.
_ONCE, _ONCE_FLAGS = ("--rerun",), ("--retry-failed",)


class Inside:
    """One run of a job, from its beginning to the launch's exit code."""

    def __init__(self, words: Sequence[str], here: Allocation) -> None:
        """Begin.

        Args:
            words: of the launch: the study and its options.
        """
        self.here, self.began = here, time.time()
        # The number of a job in its array, as in --output: `--part %a/4`.
        if task := here.job.partition("_")[2]:
            words = [word.replace("%a", task) for word in words]
        if here.restarts:
            words = without(words, *_ONCE, flags=_ONCE_FLAGS)
        hours = value(words, "--max-hours")
        self.words = without(words, "--max-hours")
        try:
            self.hours = float(hours) if hours else float("inf")
        except ValueError:
            raise BadInput(f"--max-hours {hours}: give a number of hours") from None
        self.grace = min(_MOST_GRACE, max(_LEAST_GRACE, here.left() / 10))
        self.claim = Claim(place(value(words, "--results") or "results"), here)
        self.cluster: Cluster | None = None
        self.stop = threading.Event()  # the launch is to end
        self.by_own_limit = False  # the launch ends by its own --max-hours, ahead of the allocation

    def run(self) -> int:
        """Run the launch; its exit code."""
        signal.signal(signal.SIGTERM, lambda *_: self.stop.set())
        self.claim.take()
        nodes = allocation.nodes(os.environ)
        cpus = sum(node.cpus for node in nodes)
        say(f"job {self.here.job}, run {self.here.restarts + 1}: {len(nodes)} nodes, {cpus} CPUs")
        if len(nodes) > 1 and value(self.words, "--address") is None:
            self.cluster = Cluster(nodes, say)
        try:
            if self.cluster:
                self.cluster.start()
            code, facts = self._launched()
        finally:
            if self.cluster:
                self.cluster.end()
            self.claim.release()
        return self._go_on(facts) if self._unfinished(facts) else code

    def _launched(self) -> tuple[int, Mapping[str, Any]]:
        """Run the launch, again if an earlier run of the job still holds the results; exit code and facts."""
        code, facts = 130, _facts("")
        while not self.stop.is_set():
            code, facts = self._launch()
            if code != 2 or not self.here.restarts or time.time() > self.began + _TAKE:
                break
            say("the launch is tried again: an earlier run of this job may still be ending")
            self.stop.wait(_LEAST_GRACE)
        return code, facts

    def _launch(self) -> tuple[int, Mapping[str, Any]]:
        """Run the launch once; exit code and facts, of which a launch that is killed has none."""
        most = max(0.0, self.here.left() - self.grace) / 3600
        hours, self.by_own_limit = min(self.hours, most), self.hours <= most
        words = [*self.words, "--format", "json"]
        if hours < float("inf"):
            words += ["--max-hours", f"{hours:.5f}"]
        environment = {**os.environ}
        environment.pop("RAY_ADDRESS", None)  # of a profile: not the cluster of this job
        if self.cluster:
            words += ["--address", self.cluster.address]
            environment = {key: text for key, text in environment.items() if key not in OF_OTHER_CLUSTERS}
            environment |= self.cluster.environment
        process = subprocess.Popen(
            [sys.executable, "-u", "-m", "sweep.launch", *words],
            stdout=subprocess.PIPE,
            env=environment,
            encoding="utf-8",
            errors="replace",
        )
        said: list[str] = []
        out = process.stdout or ()
        reader = threading.Thread(target=lambda: said.extend(out), daemon=True)
        reader.start()
        self._watch(process)
        reader.join(5)
        code = process.returncode
        return code if code >= 0 else 128 - code, _facts("".join(said))

    def _watch(self, process: "subprocess.Popen[str]") -> None:
        """Wait for the end of the launch, and end it if it must not go on."""
        told, looked = False, time.monotonic()
        while process.poll() is None:
            if time.monotonic() > looked + _LOOK:
                looked = time.monotonic()
                if self.claim.lost():
                    say("a later run of this job has begun elsewhere: this one ends")
                    self.stop.set()
            if self.cluster and self.cluster.watch():
                self.stop.set()
            if self.here.left() < self.grace / 2:
                self.stop.set()
            if self.stop.is_set() and not told:
                told = True
                process.terminate()
            time.sleep(0.1)

    def _unfinished(self, facts: Mapping[str, Any]) -> bool:
        """Whether the launch ended with the allocation, ahead of its own end."""
        ending = facts.get("ending")
        early = ending == "interrupted" or (ending == "time" and not self.by_own_limit)
        return early and bool(_rest(facts))

    def _go_on(self, facts: Mapping[str, Any]) -> int:
        """Send the job back into the queue, if that makes sense; the exit code of this run."""
        job = queue.show(self.here.job)
        if self.claim.lost() or job is None or job.state != "RUNNING" or job.restarts > self.here.restarts:
            return 130  # cancelled, or in the queue again already
        rest = _rest(facts)
        if not (_finished(facts) or _checkpoints(place(facts["results"]), self.began)):
            say(
                f"{rest}, and no trial got a result in this allocation: not queued again; "
                "give the job a longer --time"
            )
            return 1
        number = queue.requeue(self.here.job)
        say(f"{rest} yet: job {number} goes into the queue again")
        return 0


def say(line: str) -> None:
    """Print a line to the log of the job."""
    print(line, file=sys.stderr, flush=True)


def _facts(text: str) -> Mapping[str, Any]:
    """The document that a launch prints at its end; empty if it has none."""
    try:
        facts = json.loads(text)
    except ValueError:
        return {}
    return facts if isinstance(facts, dict) else {}


def _rest(facts: Mapping[str, Any]) -> str:
    """What the launch has left to do; empty: nothing."""
    if question := facts.get("question"):
        return "the question has no answer" if question["status"] == "goes on" else ""
    count = facts.get("without_result")
    return f"{count} trials have no result" if count else ""


def _finished(facts: Mapping[str, Any]) -> int:
    """How many trials got a result of the launch."""
    if "question" in facts:
        return int(facts["trials"] - facts["with_result"])
    before = facts["with_result"] + sum(facts["taken_over"].values())
    return int(facts["ok"] + facts["failed"] - before)


def _checkpoints(folder: Place, since: float) -> bool:
    """Whether a trial has left a checkpoint since then, from which it goes on; a store does not say when."""
    if not isinstance(folder, Path):
        return False
    # A file system's clock may be behind this one's by a tick.
    return any(file.stat().st_mtime > since - 1 for file in (folder / running.FOLDER).glob("*.pt"))


@app.command(context_settings={"ignore_unknown_options": True, "help_option_names": []})
def inside(words: list[str] = typer.Argument(None)) -> int:  # noqa: B008
    """Run the launch of a study with the nodes of this allocation."""
    return Inside(words or [], Allocation.here()).run()


def main(program: str = "sweep.slurm") -> NoReturn:
    """The command line."""
    command(app, program)


if __name__ == "__main__":
    main()
