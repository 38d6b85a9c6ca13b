from collections import deque

import pytest
from ray.tune.search import Searcher

from sweep import plan
from sweep.config import Config
from sweep.engine.pack_queue import Source
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
    source = Source([one], store, retries=3)
    turns, done = 0, set()
    while isinstance(source.suggest(str(turns)), dict):
        for job in source.running[str(turns)].jobs:
            if job.trial.id == killer:
                break
            source.finished(job.trial.id)
            done.add(job.trial.id)
        died = any(job.trial.id not in done for job in source.running[str(turns)].jobs)
        source.on_trial_complete(str(turns), error=died)
        if died:
            source.failed(str(turns), None)
        turns += 1
    assert source.suggest("end") == Searcher.FINISHED
    assert done == ids - {killer}
    [lost] = source.given_up
    assert lost.trial["trial_id"] == killer and lost.trial["status"] == "failed"
    assert "worker died 4 times" in lost.trial["error"]


def test_of_trials_reported_together_none_is_blamed_until_each_is_on_its_own(store):
    brief = Pack(0, pack(0, range(3)).jobs, brief=True)
    killer = brief.jobs[1].trial.id
    source = Source([brief], store, retries=0)
    assert source.suggest("0")["brief"]
    source.on_trial_complete("0", error=True)  # the first was over, and lost with the second
    source.failed("0", None)
    assert not source.given_up and not source.suggest("1")["brief"]
    source.finished(brief.jobs[0].trial.id)
    source.on_trial_complete("1", error=True)
    source.failed("1", None)
    assert [result.trial["trial_id"] for result in source.given_up] == [killer]


def test_a_long_pack_outlives_any_number_of_deaths_as_long_as_it_gets_on(store):
    source = Source([pack(0, range(20))], store, retries=3)
    for turn in range(20):
        assert isinstance(source.suggest(str(turn)), dict)
        source.finished(source.running[str(turn)].jobs[0].trial.id)
        source.on_trial_complete(str(turn), error=True)
        source.failed(str(turn), None)
    assert source.given_up == deque() and source.suggest("end") == Searcher.FINISHED


def test_while_a_pack_is_out_nothing_is_over(store):
    source = Source([pack(0, [0])], store, retries=3)
    source.suggest("a")
    assert source.suggest("b") is None


@pytest.fixture
def sharing():
    """A trial that leaves a state behind, one that needs it, and one that needs nothing."""
    trials = [trial(prune_epoch=1, criterion=c) for c in ("random", "snip")] + [trial(seed=0)]
    packs = plan.packs(trials, 1)
    assert [len(p.jobs) for p in packs] == [1, 1, 1]
    return packs


def test_who_needs_a_state_waits_for_it_and_others_go_first(sharing, store):
    maker, free, waits = sharing
    source = Source([maker, waits, free], store, retries=3)
    assert source.suggest("a")["pack"] == maker.number
    assert source.suggest("b")["pack"] == free.number
    assert source.suggest("c") is None
    [key] = waits.needs
    store.save(key, {})
    assert source.suggest("c")["pack"] == waits.number, "while its maker is still at work"


def test_nobody_waits_for_a_state_whose_maker_is_done_without_leaving_it(sharing, store):
    maker, _, waits = sharing
    source = Source([maker, waits], store, retries=3)
    source.suggest("a")
    assert source.suggest("b") is None
    source.finished(maker.jobs[0].trial.id)
    assert source.suggest("b")["pack"] == waits.number


def test_a_maker_whose_worker_died_comes_back_before_all_others(sharing, store):
    maker, free, waits = sharing
    source = Source([maker, free, waits], store, retries=3)
    source.suggest("a")
    source.on_trial_complete("a", error=True)
    source.failed("a", None)
    assert source.suggest("b")["pack"] == maker.number


COLOURED = "\x1b[36mray::Worker()\x1b[39m\n  File x\nImportError: no libfoo.so"


def test_a_worker_that_cannot_begin_says_why_at_once_and_three_alike_are_hopeless(store):
    source = Source([pack(0, range(5))], store, retries=3)
    for turn in range(3):
        assert source.hopeless() is None
        source.suggest(str(turn))
        source.on_trial_complete(str(turn), error=True)
        source.failed(str(turn), COLOURED)
    assert [lost.trial["error"] for lost in source.given_up] == [
        "ray::Worker()\n  File x\nImportError: no libfoo.so"
    ] * 3
    assert source.hopeless() == "ImportError: no libfoo.so"


def test_workers_that_fail_after_a_trial_had_a_result_stop_nothing(store):
    source = Source([pack(0, range(9))], store, retries=3)
    source.suggest("0")
    source.finished(source.running["0"].jobs[0].trial.id)
    source.on_trial_complete("0", error=True)
    source.failed("0", COLOURED)
    for turn in range(1, 5):
        source.suggest(str(turn))
        source.on_trial_complete(str(turn), error=True)
        source.failed(str(turn), COLOURED)
    assert len(source.given_up) == 5 and source.hopeless() is None


def test_workers_that_fail_for_several_reasons_are_not_hopeless(store):
    source = Source([pack(0, range(9))], store, retries=3)
    for turn in range(5):
        source.suggest(str(turn))
        source.on_trial_complete(str(turn), error=True)
        source.failed(str(turn), f"Error: {turn // 2}")
    assert source.hopeless() is None
