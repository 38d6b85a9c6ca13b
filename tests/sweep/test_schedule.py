from collections import deque

from ray.tune.search import Searcher

from sweep import schedule
from sweep.config import Config, Trial
from sweep.plan import Pack


def pack(number, seeds):
    return Pack(
        number,
        tuple(
            Trial.of(
                Config(dataset="digits", model="conv-5", criterion="snip", sparsity=0.9, epochs=1, seed=seed)
            )
            for seed in seeds
        ),
    )


def test_only_the_trial_that_kills_its_worker_is_given_up():
    one = pack(0, range(5))
    killer = one.trials[2]
    source = schedule._Packs([one], "data", "cpu")
    turns = 0
    while isinstance(source.suggest(str(turns)), dict):
        for trial in source.running[str(turns)].trials:
            if trial.id == killer.id:
                break
            source.done.add(trial.id)
        died = any(trial.id not in source.done for trial in source.running[str(turns)].trials)
        source.on_trial_complete(str(turns), error=died)
        turns += 1
    assert source.suggest("end") == Searcher.FINISHED
    assert source.done == {trial.id for trial in one.trials} - {killer.id}
    [lost] = source.given_up
    assert lost.trial["trial_id"] == killer.id and lost.trial["status"] == "failed"
    assert "worker died 4 times" in lost.trial["error"]


def test_a_long_pack_outlives_any_number_of_deaths_as_long_as_it_gets_on():
    source = schedule._Packs([pack(0, range(20))], "data", "cpu")
    for turn in range(20):
        assert isinstance(source.suggest(str(turn)), dict)
        source.done.add(source.running[str(turn)].trials[0].id)
        source.on_trial_complete(str(turn), error=True)
    assert source.given_up == deque() and len(source.done) == 20


def test_while_a_pack_is_out_nothing_is_over():
    source = schedule._Packs([pack(0, [0])], "data", "cpu")
    source.suggest("a")
    assert source.suggest("b") is None
