"""`sweep.run` on Ray, in a script as people write one: without a guard around what it does."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.integration import launching

SCRIPT = """\
import os, signal, threading, time
from pathlib import Path
import analysis, sweep
from sweep.store.results import finished

def unchanged():
    assert handlers == [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    assert [thread.name for thread in threading.enumerate() if thread.name == "tune"] == []

def interrupt():
    while not finished(Path("results/longer")):
        time.sleep(0.05)
    os.kill(os.getpid(), signal.SIGINT)

handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
print("the script begins")
own = sweep.Study(
    name="own", dataset="digits", model="conv-5", epochs=1, sparsity=0.9, criterion="mine.py:mine"
)
print(sweep.run(own, workers=1, quiet=True))
unchanged()

threading.Thread(target=interrupt).start()
try:
    sweep.run("longer.yaml", workers=1)
except KeyboardInterrupt:
    print("interrupted with all done:", len(finished(Path("results/longer"))) == 16)
unchanged()
print(sweep.run("longer.yaml", workers=2, quiet=True))
unchanged()

import ray
ray.init(address=os.environ["RAY_ADDRESS"], log_to_driver=False, logging_level="ERROR")
try:
    sweep.run(own, rerun="true", quiet=True)
except sweep.errors.BadInput as error:
    print(error, ray.is_initialized())
"""
MINE = "def mine(probe):\n    return {name: weight.abs() for name, weight in probe.weights.items()}\n"


@pytest.mark.long
@pytest.mark.slow
def test_runs_in_one_process_after_an_own_part_an_interrupt_and_another_ray(tmp_path, on_cluster):
    (tmp_path / "mine.py").write_text(MINE)
    # Long enough for an interrupt in the middle.
    (tmp_path / "longer.yaml").write_text(launching.LONGER.replace("epochs: 4", "epochs: 6"))
    (tmp_path / "script.py").write_text(SCRIPT)
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run(
        [sys.executable, "script.py"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    lines = done.stdout.splitlines()
    own = [line for line in lines if not line.startswith("longer: ")]
    assert own == [
        "the script begins",
        "<results results/own: 1 ok>",
        "results: results/longer",
        own[3],
        "interrupted with all done: False",
        f"<results results/longer: {launching.LONG} ok>",
        "this process is connected to Ray already: call ray.shutdown() first True",
    ], done.stderr
    assert own[3].startswith("interrupted with ") and own[3].endswith(
        " of 16 trials done; the same command goes on"
    )
    assert not done.stderr and done.returncode == 0
    assert launching.rows(tmp_path / "results" / "longer") == launching.undisturbed(tmp_path / "longer.yaml")
