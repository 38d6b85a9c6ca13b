import threading
from collections import deque
from types import SimpleNamespace

import pytest
from ray import cloudpickle
from ray.tune.search import Searcher

from sweep import plan
from sweep.config import Config
from sweep.engine.pack_queue import PackGenerator, PackQueue
from sweep.plan import Job, Pack
from sweep.store.states import Store
from sweep.study.identity import Trial


def trial(**fields):
    base = {"dataset": "digits", "model": "conv-5", "criterion": "snip", "sparsity": 0.9, "epochs": 2}
    return Trial.of(Config(**(base | fields)))


def pack(number, seeds):
    return Pack(number, tuple(Job(trial(seed=seed)) for seed in seeds))


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "prefixes")


def test_only_the_trial_that_kills_its_worker_is_given_up(store):
    one = pack(0, range(5))
    ids = {job.trial.id for job in one.jobs}
    killer = one.jobs[2].trial.id
    queue = PackQueue([one], store, retries=3)
    turns, done = 0, set()
    while isinstance(queue.suggest(str(turns)), dict):
        for job in queue.running[str(turns)].jobs:
            if job.trial.id == killer:
                break
            queue.tell(job.trial.id)
            done.add(job.trial.id)
        died = any(job.trial.id not in done for job in queue.running[str(turns)].jobs)
        queue.on_trial_complete(str(turns), error=died)
        if died:
            queue.failed(str(turns), None)
        turns += 1
    assert queue.suggest("end") == Searcher.FINISHED
    assert done == ids - {killer}
    [lost] = queue.given_up
    assert lost.trial["trial_id"] == killer and lost.trial["status"] == "failed"
    assert "worker died 4 times" in lost.trial["error"]


def test_of_trials_reported_together_none_is_blamed_until_each_is_on_its_own(store):
    brief = Pack(0, pack(0, range(3)).jobs, brief=True)
    killer = brief.jobs[1].trial.id
    queue = PackQueue([brief], store, retries=0)
    assert queue.suggest("0")["brief"]
    queue.on_trial_complete("0", error=True)  # the first was over, and lost with the second
    queue.failed("0", None)
    assert not queue.given_up and not queue.suggest("1")["brief"]
    queue.tell(brief.jobs[0].trial.id)
    queue.on_trial_complete("1", error=True)
    queue.failed("1", None)
    assert [result.trial["trial_id"] for result in queue.given_up] == [killer]


def test_a_long_pack_outlives_any_number_of_deaths_as_long_as_it_gets_on(store):
    queue = PackQueue([pack(0, range(20))], store, retries=3)
    for turn in range(20):
        assert isinstance(queue.suggest(str(turn)), dict)
        queue.tell(queue.running[str(turn)].jobs[0].trial.id)
        queue.on_trial_complete(str(turn), error=True)
        queue.failed(str(turn), None)
    assert queue.given_up == deque() and queue.suggest("end") == Searcher.FINISHED


def test_tune_can_pickle_the_queue_of_a_session_that_has_threads_and_locks(store):
    """Tune does so before it begins; of what it would restore from that, nothing is of use to us."""
    session = SimpleNamespace(lock=threading.RLock(), ask=lambda: None)
    queue = PackQueue([pack(0, [0])], store, retries=3, ask=lambda: session.ask())
    assert len(cloudpickle.dumps(PackGenerator(queue, 1))) < 10_000


def test_while_a_pack_is_out_nothing_is_over(store):
    queue = PackQueue([pack(0, [0])], store, retries=3)
    queue.suggest("a")
    assert queue.suggest("b") is None


@pytest.fixture
def sharing():
    """A trial that leaves a state behind, one that needs it, and one that needs nothing."""
    trials = [trial(prune_epoch=1, criterion=c) for c in ("random", "snip")] + [trial(seed=0)]
    packs = plan.packs(trials, 1)
    assert [len(p.jobs) for p in packs] == [1, 1, 1]
    return packs


def test_who_needs_a_state_waits_for_it_and_others_go_first(sharing, store):
    maker, free, waits = sharing
    queue = PackQueue([maker, waits, free], store, retries=3)
    assert queue.suggest("a")["pack"] == maker.number
    assert queue.suggest("b")["pack"] == free.number
    assert queue.suggest("c") is None
    [key] = waits.needs
    store.save(key, {})
    assert queue.suggest("c")["pack"] == waits.number, "while its maker is still at work"


def test_nobody_waits_for_a_state_whose_maker_is_done_without_leaving_it(sharing, store):
    maker, _, waits = sharing
    queue = PackQueue([maker, waits], store, retries=3)
    queue.suggest("a")
    assert queue.suggest("b") is None
    queue.tell(maker.jobs[0].trial.id)
    assert queue.suggest("b")["pack"] == waits.number


def test_a_maker_whose_worker_died_comes_back_before_all_others(sharing, store):
    maker, free, waits = sharing
    queue = PackQueue([maker, free, waits], store, retries=3)
    queue.suggest("a")
    queue.on_trial_complete("a", error=True)
    queue.failed("a", None)
    assert queue.suggest("b")["pack"] == maker.number


COLOURED = "\x1b[36mray::Worker()\x1b[39m\n  File x\nImportError: no libfoo.so"


def test_a_worker_that_cannot_begin_says_why_at_once_and_three_alike_are_hopeless(store):
    queue = PackQueue([pack(0, range(5))], store, retries=3)
    for turn in range(3):
        assert queue.hopeless() is None
        queue.suggest(str(turn))
        queue.on_trial_complete(str(turn), error=True)
        queue.failed(str(turn), COLOURED)
    assert [lost.trial["error"] for lost in queue.given_up] == [
        "ray::Worker()\n  File x\nImportError: no libfoo.so"
    ] * 3
    assert queue.hopeless() == "ImportError: no libfoo.so"


def test_workers_that_fail_after_a_trial_had_a_result_stop_nothing(store):
    queue = PackQueue([pack(0, range(9))], store, retries=3)
    queue.suggest("0")
    queue.tell(queue.running["0"].jobs[0].trial.id)
    queue.on_trial_complete("0", error=True)
    queue.failed("0", COLOURED)
    for turn in range(1, 5):
        queue.suggest(str(turn))
        queue.on_trial_complete(str(turn), error=True)
        queue.failed(str(turn), COLOURED)
    assert len(queue.given_up) == 5 and queue.hopeless() is None


def test_workers_that_fail_for_several_reasons_are_not_hopeless(store):
    queue = PackQueue([pack(0, range(9))], store, retries=3)
    for turn in range(5):
        queue.suggest(str(turn))
        queue.on_trial_complete(str(turn), error=True)
        queue.failed(str(turn), f"Error: {turn // 2}")
    assert queue.hopeless() is None


def test_a_worker_looks_for_a_checkpoint_where_an_earlier_try_may_have_left_one(store):
    """Not for every trial: to look takes a request where results are in an object store."""
    one, ids = pack(0, range(3)), [trial(seed=seed).id for seed in range(3)]
    queue = PackQueue([one], store, retries=3, again=[ids[2]])
    assert [again for *_, again in queue.suggest("0")["jobs"]] == [False, False, True]
    queue.tell(ids[0])
    queue.on_trial_complete("0", error=True)
    queue.failed("0", None)  # while it ran the second
    assert [again for *_, again in queue.suggest("1")["jobs"]] == [True, True]
