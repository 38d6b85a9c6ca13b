"""A sweep on a cluster that grows, loses half its nodes and shrinks: run by test_cluster.py, in namespaces."""

import json
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console

import analysis
from sweep.config import Config
from sweep.engine.options import Options
from sweep.engine.progress import Progress
from sweep.engine.session import Session
from sweep.study import Study
from sweep.study.identity import Trial
from sweep.trial import Result
from tests.integration.launching import processes

# Ray's own provider of nodes that are processes of one machine: its autoscaler does not know the difference.
CLUSTER = """\
cluster_name: elastic
max_workers: 4
upscaling_speed: 10
idle_timeout_minutes: 0.05
provider:
  type: fake_multinode
  use_node_id_as_ip: true  # all have the same
  disable_node_updaters: true
  disable_launch_config_check: true
head_node_type: ray.head.default  # the name that this provider gives it
available_node_types:
  ray.head.default:
    resources: {CPU: 0}
    node_config: {}
    max_workers: 0
  worker:
    resources: {CPU: 1}
    node_config: {}
    min_workers: 0
    max_workers: 4
# Asked for, and without a use here:
auth: {ssh_user: nobody}
file_mounts: {}
cluster_synced_files: []
initialization_commands: []
setup_commands: []
head_setup_commands: []
worker_setup_commands: []
head_start_ray_commands: []
worker_start_ray_commands: []
"""
NODES, SHORT, TRIALS, LONG = 4, 0.5, 80, 15.0
PATIENCE = 120.0  # seconds that the long trial waits for the others' nodes to go


def seconds(trial):
    """One takes long, so that there is a tail in which the other workers have nothing to do."""
    return LONG if trial.config.seed == TRIALS - 1 else SHORT


def sleeper(log, shrunk):
    """A trial that sleeps, and takes down when it began and when it ended.

    The long one goes on until the cluster has given its other nodes back, however slow the machine is.
    """

    def sleep(trial, where, shared):
        started = datetime.now(UTC)

        def note(what):
            with Path(log).open("a") as file:
                file.write(json.dumps([what, trial.id, os.getpid(), time.time()]) + "\n")

        note("began")
        latest = time.time() + PATIENCE
        time.sleep(seconds(trial))
        while seconds(trial) == LONG and not Path(shrunk).exists() and time.time() < latest:
            time.sleep(0.1)
        note("ended")
        times = {"started_at": started, "finished_at": datetime.now(UTC)}
        return Result(trial.columns() | {"status": "ok"} | times)

    return sleep


def raylets():
    """Pids of the nodes' own processes, but the head's."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        words = path.read_bytes().split(b"\0")
        if words[0].endswith(b"raylet/raylet") and b"--head" not in words:
            found.append(int(path.parent.name))
    return sorted(found)


class Watch(threading.Thread):
    """Sees how many nodes there are, kills half of them when a third of the trials are done, and says so
    with the file `shrunk` when all trials but the long one are done and one node is left."""

    def __init__(self, log, shrunk):
        super().__init__(daemon=True)
        self.log, self.shrunk, self.nodes, self.killed_at, self.killed = log, Path(shrunk), [], 0.0, 0

    def run(self):
        import ray

        while True:
            time.sleep(0.25)
            if not ray.is_initialized():
                continue
            alive = [node for node in ray.nodes() if node["Alive"] and node["Resources"].get("CPU")]
            self.nodes.append((time.time(), len(alive)))
            done = Path(self.log).read_text().count("ended") if Path(self.log).exists() else 0
            if not self.killed and len(alive) == NODES and done > TRIALS / 3:
                self.killed_at = time.time()
                for node in raylets()[: NODES // 2]:
                    for pid in (node, *processes({node})):
                        with suppress(ProcessLookupError):
                            os.kill(pid, signal.SIGKILL)
                    self.killed += 1
            if self.killed and done >= TRIALS - 1 and len(alive) == 1:
                self.shrunk.touch()


def main(folder):
    from sweep.store.results import finished

    logging.disable(logging.WARNING)
    log, shrunk = str(folder / "log"), str(folder / "shrunk")
    config = folder / "cluster.yaml"
    config.write_text(CLUSTER)
    command = [
        "ray",
        "start",
        "--head",
        "--num-cpus=0",
        "--include-dashboard=false",
        f"--autoscaling-config={config}",
    ]
    quick = {
        "RAY_FAKE_CLUSTER": "1",
        "AUTOSCALER_UPDATE_INTERVAL_S": "1",
        "AUTOSCALER_HEARTBEAT_TIMEOUT_S": "5",
        "RAY_health_check_period_ms": "1000",
        "RAY_health_check_failure_threshold": "3",
    }
    subprocess.run(command, env={**os.environ, **quick}, check=True, stdout=subprocess.DEVNULL)
    watch = Watch(log, shrunk)
    watch.start()
    fields = {"dataset": "digits", "model": "conv-5", "epochs": 1, "criterion": "random", "sparsity": 0.9}
    wanted = tuple(Trial.of(Config(seed=seed, **fields)) for seed in range(TRIALS))
    study = Study("elastic", Path("elastic.yaml"), "", wanted, TRIALS)
    results = folder / "results" / "elastic"
    results.mkdir(parents=True)
    with (
        Path(os.devnull).open("w") as nowhere,
        Progress("elastic", TRIALS, [], Console(file=nowhere)) as progress,
    ):
        options = Options(data_root="data", address="auto", workers=NODES)
        session = Session(
            study, results, options, lambda job: seconds(job.trial), progress, run=sleeper(log, shrunk)
        )
        session.run(study.trials())
    over = time.time()
    events = [json.loads(line) for line in Path(log).read_text().splitlines()]
    began = {name: at for what, name, _, at in events if what == "began"}  # the last time
    ended = {(name, pid): at for what, name, pid, at in events if what == "ended"}
    lost = [
        ended.get((name, pid), max(at, watch.killed_at)) - at
        for what, name, pid, at in events
        if what == "began" and at < began[name]
    ]
    print(
        json.dumps(
            {
                "asked": TRIALS,
                "trials": len(finished(results)),
                "rows": analysis.open(results).execute("SELECT count(*) FROM all_trials").fetchone()[0],
                "ended": sum(what == "ended" for what, *_ in events),
                "killed": watch.killed,
                "began": sum(what == "began" for what, *_ in events),
                "peak": max(count for _, count in watch.nodes),
                "peak after the kill": max(
                    (n for at, n in watch.nodes if at > watch.killed_at + 3), default=0
                ),
                "at the end": min(n for at, n in watch.nodes if over - 8 < at < over),
                "lost trials": len(lost),
                "lost seconds": sum(lost),
                "work": sum(seconds(trial) for trial in study.trials()),
                "wall": over - watch.nodes[0][0],
                "timeline": [watch.nodes[0]]
                + [b for a, b in zip(watch.nodes, watch.nodes[1:], strict=False) if a[1] != b[1]],
            }
        ),
        flush=True,
    )
    os._exit(0)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
