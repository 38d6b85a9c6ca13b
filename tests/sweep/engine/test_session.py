"""A session without Ray: Tune is replaced by a function that runs in its thread."""

import json
import os
import signal
import threading
import time
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest
from rich.console import Console

import analysis
from sweep.config import Config
from sweep.engine import runner, session
from sweep.engine.options import TUNE, Ending, Options
from sweep.engine.progress import Progress
from sweep.engine.session import Session
from sweep.errors import BadInput
from sweep.plan import Job, Pack
from sweep.store.results import finished
from sweep.store.schema import SCHEMAS
from sweep.study import Study
from sweep.study.identity import Trial
from sweep.trial import Result
from sweep.trial.prefixes import branch
from tests.sweep.store.test_results import mask

FIELDS = {"dataset": "digits", "model": "conv-5", "criterion": "snip", "sparsity": 0.9, "epochs": 2}
TRIALS = [Trial.of(Config(**FIELDS, prune_epoch=1, seed=seed)) for seed in range(3)]


def result(trial, status="ok"):
    now = datetime.now(UTC)
    return Result(trial.columns() | {"status": status, "started_at": now, "finished_at": now})


@pytest.fixture(autouse=True)
def signals():
    """Those of this process come back: a session that ends ignores Ctrl-C, for its process ends too."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture
def cluster(monkeypatch):
    """What is done with a cluster, by name."""
    done = []
    fake = SimpleNamespace(
        check_unconnected=lambda: None,
        of_environment=lambda address: False,
        connect=lambda *words, gpu: done.append("connect"),
        capacity=lambda *words: (2, 1),
        start_judge=lambda judge: judge.args[0],
        dead_process=lambda: None,
        stop=lambda: done.append("stop"),
        done=done,
    )
    monkeypatch.setattr(session, "cluster", fake)
    return fake


@pytest.fixture
def start(cluster, tmp_path, monkeypatch):
    """Runs a session in which a function takes the place of Tune."""

    def run(execute, trials=TRIALS, proposer=None, **options):
        monkeypatch.setattr(session.tune, "execute", execute)
        study = Study("made", Path("made.yaml"), "# made", tuple(trials), len(trials))
        folder = tmp_path / "results" / "made"
        folder.mkdir(parents=True, exist_ok=True)
        with Path("/dev/null").open("w") as nowhere:
            progress = Progress("made", len(trials), [], Console(file=nowhere))
            options = Options(data_root="data", **options)
            own = Session(study, folder, options, lambda job: 1.0, progress, proposer=proposer)
            return own.run(trials), folder

    return run


def tells_all(packs, where, *, tell, **rest):
    for pack in packs:
        for job in pack.jobs:
            tell(result(job.trial))


def test_rows_of_every_table_of_a_result_are_written(start):
    def tells(packs, where, *, tell, **rest):
        for pack in packs:
            for job in pack.jobs:
                made, key = result(job.trial), {"trial_id": job.trial.id}
                made.curves.append(key | {"phase": "dense", "epoch": 1.0})
                made.layers.append(key | {"layer": 0, "name": "a"})
                made.metrics.append(
                    key | {"name": "ece", "split": "test", "value": 0.1, "higher_is_better": False}
                )
                made.masks.append(mask(job.trial.id))
                tell(made)

    _, folder = start(tells)
    connection = analysis.open(folder)
    for table in SCHEMAS:
        assert connection.execute(f"SELECT count(*) FROM {table}").fetchall() == [(len(TRIALS),)]


@pytest.mark.slow
def test_rows_say_the_launch_and_the_code_that_ran_them(start):
    ending, folder = start(tells_all)
    assert ending is Ending.FINISHED
    start(tells_all, TRIALS[:1])
    first, second = json.loads((folder / "study.json").read_text())["launches"]
    rows = analysis.open(folder).execute(
        "SELECT launch, code, launched_at, count(*) FROM trials GROUP BY ALL"
    )
    counts = {}
    for launch, code, at, count in rows.fetchall():
        entry = next(entry for entry in (first, second) if entry["launch"] == launch)
        assert at == datetime.fromisoformat(entry["started_at"])
        assert code.startswith(entry["git_revision"] or entry["versions"]["secateur"])
        counts[launch] = count
    assert counts == {first["launch"]: 2, second["launch"]: 1}


class Made:
    """A proposer of three trials, which takes down what it is told, where, and what is on disk by then."""

    def __init__(self, folder):
        self.folder, self.left, self.told, self.threads = folder, [*TRIALS], [], set()

    def begin(self, workers):
        assert workers == 2 and len(self.left) == len(TRIALS)

    def ask(self):
        self.threads.add(threading.current_thread().name)
        if not self.left:
            return None
        trial = self.left.pop()
        point = branch(trial.config)
        return Pack(1, (Job(trial, None, (point,), (point,)),))

    def tell(self, result):
        self.threads.add(threading.current_thread().name)
        name = result.trial["trial_id"]
        self.told.append((name, name in finished(self.folder)))

    def examples(self):
        return TRIALS

    def judge(self):
        return partial(dict, "the judge")


def test_a_proposer_is_asked_and_told_in_one_thread_and_told_what_is_on_disk(start, tmp_path):
    made = Made(tmp_path / "results" / "made")
    claimed = []

    def execute(packs, where, *, ask, tell, **rest):
        assert not packs and where.judge == "the judge"
        while pack := ask():
            claimed.append(set((Path(where.prefixes) / "made.needs").read_text().split()))
            tell(result(pack.jobs[0].trial))

    ending, _ = start(execute, [], made)
    assert ending is Ending.FINISHED
    assert made.told == [(trial.id, True) for trial in TRIALS[::-1]]
    assert made.threads == {TUNE}
    keys = [branch(trial.config).key for trial in TRIALS[::-1]]
    assert claimed == [set(keys[: n + 1]) for n in range(3)], "states of a proposed trial are claimed"


def endless(packs, where, *, tell, **rest):
    tell(result(packs[0].jobs[0].trial, "failed"))
    time.sleep(2)


@pytest.mark.parametrize(
    ("limit", "ending"), [({"max_hours": 1e-9}, Ending.TIME), ({"max_failures": 1}, Ending.FAILURES)]
)
def test_a_limit_ends_a_session_that_keeps_what_is_done_and_leaves_ray_to_the_running_tune(
    limit, ending, start, cluster
):
    found, folder = start(endless, **limit)
    assert found is ending and len(finished(folder)) == 1
    assert cluster.done == ["connect"], "to shut Ray down under its thread can crash"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_leaves_ray_to_the_running_tune(number, start, cluster):
    signal.signal(number, signal.default_int_handler)
    over = threading.Event()

    def execute(packs, where, *, tell, **rest):
        tell(result(packs[0].jobs[0].trial))
        os.kill(os.getpid(), number)
        over.wait()

    ending, folder = start(execute)
    over.set()
    assert ending is Ending.INTERRUPTED and len(finished(folder)) == 1
    assert cluster.done == ["connect"], "to shut Ray down under its thread ends the process with code 1"


def test_an_interrupt_while_ray_starts_ends_a_session_as_one_while_trials_run(start, cluster):
    def interrupted(*words, gpu):
        raise KeyboardInterrupt

    cluster.connect = interrupted
    ending, _ = start(tells_all)
    assert ending is Ending.INTERRUPTED and cluster.done == ["stop"]


def test_what_a_callback_of_tune_refuses_is_raised_as_it_was_said(start, cluster):
    def execute(packs, where, **rest):
        try:
            raise BadInput("no worker can begin")
        except BadInput as error:
            raise RuntimeError("Tune's own words") from error

    with pytest.raises(BadInput, match=r"^no worker can begin$"):
        start(execute)
    assert cluster.done == ["connect", "stop"]


def test_a_dead_process_of_ray_ends_a_session_in_one_line(start, cluster):
    cluster.dead_process = lambda: "raylet"
    with pytest.raises(BadInput, match="Ray's raylet died: what is finished is kept"):
        start(endless)


def test_a_session_runs_trials_with_the_workers_own_function_by_default(start):
    used = []
    start(lambda packs, where, *, run, ask, **rest: used.append((run, ask)))
    assert used == [(runner.run_trial, None)], "and asks nobody for more"
