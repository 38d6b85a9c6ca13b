"""Many workers: the scheduler with a thousand of them on a simulated clock, and two real nodes against one."""

import heapq
import itertools
import json
import logging
import os
import random
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import NamedTuple

from rich.console import Console

import analysis
from sweep import plan
from sweep.config import Config
from sweep.engine.options import Options
from sweep.engine.pack_queue import PackQueue
from sweep.engine.progress import Progress
from sweep.engine.session import Session
from sweep.study import Study
from sweep.study.identity import Trial
from sweep.trial import Result

WORKERS, TRIALS = 1000, 100_000
# Seconds of an epoch, of three networks of a study; each trial has 160 epochs or goes on from another's.
EPOCH = {"lenet-300-100": 0.1, "resnet-20": 1.5, "vgg-19": 4.0}
_EPOCHS = 160
# What a worker waits for a pack, and what a trial takes over what was expected: a factor, log-normal.
_HANDED_OVER, _SPREAD = 0.1, 0.25
_NAP = 0.4


class States:
    """The keys of states that are there; a store without a disk."""

    def __init__(self):
        self.keys = set()

    def has(self, key):
        return key in self.keys


def trials(count):
    """A study of short and long trials, of which most share dense training with others."""
    axes = itertools.product(
        range(count),
        EPOCH,
        ("random", "magnitude", "snip", "synflow", "grasp"),
        (0, 10, 40, 80),
        (0.5, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995),
    )
    fields = {"dataset": "cifar10", "epochs": _EPOCHS}
    return [
        Trial.of(
            Config(
                seed=seed, model=model, criterion=criterion, prune_epoch=epoch, sparsity=sparsity, **fields
            )
        )
        for seed, model, criterion, epoch, sparsity in itertools.islice(axes, count)
    ]


def expected(job):
    """Seconds; pruning and evaluation take as much as one epoch."""
    config = job.trial.config
    return EPOCH[config.model] * (plan.own_steps(job, 100) / 100 + 1)


class Clock:
    """CPU seconds of what is done within it, added up."""

    def __init__(self):
        self.seconds = 0.0

    def __enter__(self):
        self._began = time.process_time()

    def __exit__(self, *_):
        self.seconds += time.process_time() - self._began


class Simulated(NamedTuple):
    """What came of it.

    Attributes:
        tail: seconds until nothing was left to hand out and a worker had nothing to do.
        end: seconds to the end of the last trial.
        utilisation: share of all workers' time until the tail that was trials.
        cpu: seconds of the scheduler.
        work: seconds of all workers.
    """

    tail: float
    end: float
    utilisation: float
    cpu: float
    packs: int
    shortest: float
    longest: float
    work: float


def simulate(count, workers, seed=0):
    """Run them on a simulated clock: only the time that trials take is made up."""
    draw, states, scheduler, names = random.Random(seed), States(), Clock(), itertools.count()
    every = trials(count)
    with scheduler:
        packs = plan.packs(every, workers, expected, 2.0)
        queue = PackQueue(packs, states, retries=3)
    jobs = {job.trial.canonical: job for pack in packs for job in pack.jobs}
    assert len(jobs) == count
    events, left, handed, done = [], {}, 0, 0
    free, now, spent, tail = workers, 0.0, 0.0, None
    while done < count:
        with scheduler:
            asked = None
            while free and isinstance(asked := queue.suggest(name := f"pack-{next(names)}"), dict):
                free, handed, at = free - 1, handed + 1, now + _HANDED_OVER
                left[name] = len(asked["jobs"])
                for canonical, _, saves, _ in asked["jobs"]:
                    at += expected(jobs[canonical]) * draw.lognormvariate(0, _SPREAD)
                    heapq.heappush(events, (at, canonical, name, [key for key, *_ in saves]))
        if free and not queue.waiting and tail is None:
            tail, used = now, spent - handed * _HANDED_OVER
        before, (now, canonical, name, saves) = now, heapq.heappop(events)
        spent += (workers - free) * (now - before)
        done += 1
        with scheduler:
            states.keys.update(saves)
            queue.tell(jobs[canonical].trial.id)
            left[name] -= 1
            if not left[name]:
                queue.on_trial_complete(name)
                free += 1
    lengths = [expected(job) for job in jobs.values()]
    return Simulated(
        tail, now, used / (workers * tail), scheduler.seconds, handed, min(lengths), max(lengths), spent
    )


def nap(trial, where, shared, *, workers, there):
    """A trial that sleeps instead of computing; a worker's first waits for the other workers to be there."""
    (there / str(os.getpid())).touch()
    while len(list(there.iterdir())) < workers:
        time.sleep(0.01)
    started = datetime.now(UTC)
    time.sleep(_NAP)
    return Result(trial.columns() | {"status": "ok", "started_at": started, "finished_at": datetime.now(UTC)})


def rate(address, workers, many):
    """Trials a second on a cluster, from when every worker was there; and the share that ran beside another trial."""
    fields = {"dataset": "digits", "model": "conv-5", "epochs": 1, "criterion": "random", "sparsity": 0.9}
    wanted = tuple(Trial.of(Config(seed=seed, **fields)) for seed in range(many))
    study = Study("naps", Path("naps.yaml"), "", wanted, many)
    with tempfile.TemporaryDirectory() as scratch, Path(os.devnull).open("w") as nowhere:
        folder = Path(scratch) / "naps"
        there = Path(scratch) / "there"
        folder.mkdir()
        there.mkdir()
        with Progress("naps", many, [], Console(file=nowhere)) as progress:
            options = Options(data_root="data", address=address)
            run = partial(nap, workers=workers, there=there)
            Session(study, folder, options, lambda job: _NAP, progress, run=run).run(study.trials())
        asked = """SELECT count(*) / epoch(max(finished_at) - min(started_at)), avg(EXISTS (
            FROM trials AS other WHERE other.trial_id <> each.trial_id
                AND other.started_at < each.finished_at AND each.started_at < other.finished_at
        )::INT) FROM trials AS each"""
        return analysis.open(folder).execute(asked).fetchall()[0]


def nodes(many):
    """Print the rate and the share on one node of this machine, and on two."""
    from ray.cluster_utils import Cluster

    logging.disable(logging.WARNING)
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    found = []
    for count in (1, 2):
        cluster.add_node(num_cpus=1)
        found.append(rate(cluster.address, count, many))
    cluster.shutdown()
    print(json.dumps(found), flush=True)
    os._exit(0)


def apart(many=60):
    """The same in a process of its own: the rate and the share on one node, and those on two."""
    command = [sys.executable, "-m", "benchmarks.scaling", "nodes", str(many)]
    answer = subprocess.run(command, capture_output=True, text=True, check=True)
    return json.loads(answer.stdout.splitlines()[-1])


def main(count=TRIALS, workers=WORKERS):
    found = simulate(count, workers)
    print(
        f"scaling, simulated, {workers:,} workers, {count:,} trials of {found.shortest:.0f} to {found.longest:.0f} s in "
        f"{found.packs:,} packs, {found.work / 3600:,.0f} worker hours: {found.utilisation:.1%} of the workers' time was "
        f"trials until nothing was left to hand out; tail {1 - found.tail / found.end:.1%} of {found.end / 3600:.2f} h; "
        f"scheduler {found.cpu / count * 1e3:.2f} ms CPU a trial",
        flush=True,
    )
    (one, _), (two, _) = apart()
    print(
        f"scaling, trials that sleep {_NAP:g} s on real nodes of one worker: {one:.2f} trials a second on one, "
        f"{two:.2f} on two: {two / one:.2f} times"
    )


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["nodes", many]:
            nodes(int(many))
        case []:
            main()
        case [count, workers]:
            main(int(count), int(workers))
