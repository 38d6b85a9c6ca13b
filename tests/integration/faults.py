"""Kill the driver, workers and nodes of a running study at random, and see that every trial ends once and equal.

python -m tests.integration.faults --kills 100
"""

import argparse
import os
import random
import signal
import tempfile
import time
from collections import Counter
from pathlib import Path

import analysis
from sweep.store.results import finished
from sweep.store.schema import KEYS
from tests.integration import warm
from tests.integration.launching import launch, rows, undisturbed, workers

STUDY = """\
name: ordeal
dataset: digits
model: conv-5
epochs: 3
lr: 0.2
sparsity: [0, 0.9, 0.95, 0.99]
prune_epoch: [0, 1]
seed: 0..{last}
blocks:
  - criterion: [random, snip]
    scope: [global, erk]
"""


def parts(folder):
    """Rows of each table as the parts hold them, how many of them are of one name, and those of its view."""
    connection, found = analysis.open(folder), {}
    for table, key in KEYS.items():
        if table in ("metrics", "masks"):  # the study asks for none
            continue
        pattern = next(folder.glob(f"**/{table}")) / "part-*.parquet"
        counted = f"SELECT count(*), count(DISTINCT ({', '.join(key)})) FROM read_parquet('{pattern}')"
        [seen] = connection.execute(f"SELECT count(*) FROM {table}").fetchone()
        found[table] = (*connection.execute(counted).fetchone(), seen)
    return found


class Ordeal:
    """A study on a cluster of three nodes of this machine, and who is killed meanwhile."""

    def __init__(self, path, results, seed):
        from ray.cluster_utils import Cluster

        self.path, self.results, self.draw = path, results, random.Random(seed)
        # A dead node is noticed after 3 seconds; Ray's own numbers make it 15 and more.
        watch = {
            "health_check_period_ms": 1000,
            "health_check_initial_delay_ms": 1000,
            "health_check_failure_threshold": 3,
        }
        with warm.starting():
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

    def progress(self):
        """Wait until another trial is done; False if the launch is over.

        Every other time there is no wait: the next is killed before anything has recovered.
        """
        if self.driver and self.driver.poll() is None and self.draw.random() < 0.5:
            return True
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
        return True

    def kill(self):
        """Kill one of them."""
        time.sleep(self.draw.random() / 2)
        what = self.draw.choice(("driver", *["worker"] * 4, *["node"] * 3))
        if what == "driver":
            self.driver.kill()
            self.driver.communicate()
        elif what == "worker":
            found = workers({os.getpid()})
            if not found:
                return
            os.kill(self.draw.choice(found), signal.SIGKILL)
        else:
            node = self.nodes.pop(self.draw.randrange(len(self.nodes)))
            self.cluster.remove_node(node, allow_graceful=False)
            with warm.starting():
                self.nodes.append(self.cluster.add_node(num_cpus=1))
        self.killed[what] += 1

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
        while trial.killed.total() < kills and trial.progress():
            trial.kill()
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
