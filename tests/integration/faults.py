"""Kill the driver, workers and nodes of a running study at random, and see that every trial ends once and equal.

python -m tests.integration.faults --kills 100
"""

import argparse
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import analysis
from sweep.results import finished
from sweep.schema import KEYS
from sweep.study import load
from sweep.trial import run

STUDY = """\
name: ordeal
dataset: digits
model: conv-5
epochs: 3
lr: 0.2
sparsity: [0, 0.9, 0.99]
prune_epoch: [0, 1]
seed: 0..{last}
blocks:
  - criterion: [random, snip]
    scope: [global, erk]
"""
NUMBERS = (
    "trial_id, status, kept, effective_density, pre_train_loss, pre_test_loss, train_loss, val_loss, test_loss, "
    "test_accuracy, best_val_accuracy, mean_active_params"
)


def rows(folder):
    return sorted(analysis.open(folder).execute(f"SELECT {NUMBERS} FROM trials").fetchall())


def undisturbed(path):
    """What the trials of a study give in this process, without Ray and each on its own."""
    found = [run(trial).trial for trial in load(path).trials()]
    return sorted(tuple(row[column] for column in NUMBERS.split(", ")) for row in found)


def parts(folder):
    """Rows of each table as the parts hold them, how many of them are of one name, and those of its view."""
    connection, found = analysis.open(folder), {}
    for table, key in KEYS.items():
        pattern = next(folder.glob(f"**/{table}")) / "part-*.parquet"
        counted = f"SELECT count(*), count(DISTINCT ({', '.join(key)})) FROM read_parquet('{pattern}')"
        [seen] = connection.execute(f"SELECT count(*) FROM {table}").fetchone()
        found[table] = (*connection.execute(counted).fetchone(), seen)
    return found


def launch(*words):
    command = [sys.executable, "-m", "sweep.launch", *map(str, words)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def processes(ancestors):
    """Pid → name of every process that descends from one of these."""
    parents = {}
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            pid, name, _, parent = re.match(r"(\d+) \((.*)\) (\S) (\d+)", status.read_text()).groups()
        except OSError:
            continue
        parents[int(pid)] = (int(parent), name)

    def ours(pid):
        while pid in parents and pid not in ancestors:
            pid = parents[pid][0]
        return pid in ancestors

    return {pid: name for pid, (_, name) in parents.items() if ours(pid)}


def workers(ancestors):
    """Processes that run trials, by the name that Ray gives them."""
    # Linux keeps the first 15 letters of a name.
    return [
        pid for pid, name in processes(ancestors).items() if name.startswith(("ray::Resource", "ray::_Inner"))
    ]


class Ordeal:
    """A study on a cluster of three nodes of this machine, and who is killed meanwhile."""

    def __init__(self, path, results, seed):
        from ray.cluster_utils import Cluster

        self.path, self.results, self.draw = path, results, random.Random(seed)
        # A dead node is noticed after 5 seconds; Ray's own numbers make it 15 and more.
        watch = {"health_check_period_ms": 1000, "health_check_initial_delay_ms": 1000}
        self.cluster = Cluster(
            initialize_head=True,
            head_node_args={"num_cpus": 0, "include_dashboard": False, "_system_config": watch},
        )
        self.nodes = [self.cluster.add_node(num_cpus=1) for _ in range(2)]
        self.killed = Counter()
        self.driver = None

    def drive(self):
        if self.driver is None or self.driver.poll() is not None:
            words = (self.path, "--results", self.results, "--address", self.cluster.address)
            self.driver = launch(*words, "--max-retries", 100)

    def kill(self):
        """Kill something once there is progress; False if everything is done before."""
        self.drive()
        folder = self.results / "ordeal"
        before, deadline = len(finished(folder)), time.monotonic() + 180
        while len(finished(folder)) <= before:
            if self.driver.poll() is not None:
                out, err = self.driver.communicate()
                assert self.driver.returncode == 0, (out, err)
                return False
            assert time.monotonic() < deadline, "no trial within 180 s"
            time.sleep(0.05)
        time.sleep(self.draw.random() / 2)
        what = self.draw.choice(("driver", *["worker"] * 4, *["node"] * 3))
        if what == "driver":
            self.driver.kill()
            self.driver.communicate()
        elif what == "worker":
            found = workers({os.getpid()})
            if not found:
                return True
            os.kill(self.draw.choice(found), signal.SIGKILL)
        else:
            node = self.nodes.pop(self.draw.randrange(len(self.nodes)))
            self.cluster.remove_node(node, allow_graceful=False)
            self.nodes.append(self.cluster.add_node(num_cpus=1))
        self.killed[what] += 1
        return True

    def finish(self):
        self.drive()
        out, err = self.driver.communicate(timeout=600)
        assert self.driver.returncode == 0, (out, err)

    def close(self):
        if self.driver and self.driver.poll() is None:
            self.driver.kill()
            self.driver.communicate()
        self.cluster.shutdown()


def ordeal(folder, kills, seed, last):
    """Kill so often; what was killed how often."""
    path = folder / "ordeal.yaml"
    path.write_text(STUDY.format(last=last))
    trial = Ordeal(path, folder / "results", seed)
    try:
        while trial.killed.total() < kills and trial.kill():
            pass
        trial.finish()
        assert rows(folder / "results") == undisturbed(path)
        for table, (count, distinct, seen) in parts(folder / "results").items():
            assert seen == distinct > 0, f"{table}: rows that are seen twice"
            # What a driver that died had written of a trial, all but its row of `trials`, is written again.
            died = trial.killed["driver"] and table != "trials"
            assert count == distinct or died, f"{table}: rows that are there twice"
        assert not (folder / "results" / ".prefixes").exists(), "nobody needs a state any more"
        return trial.killed
    finally:
        trial.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    words = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        killed = ordeal(Path(scratch), words.kills, words.seed, last=words.kills // 4)
        print(
            f"{killed.total()} kills ({dict(killed)}): every trial is there once, and equal to the undisturbed"
        )
