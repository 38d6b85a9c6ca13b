import itertools
from pathlib import Path

import pytest
import torch
from PIL import Image

from sweep import data, plan
from sweep.config import Config
from sweep.store.states import Claims, Store
from sweep.study.identity import Trial
from sweep.trial import prefixes, run
from sweep.trial.prefixes import Shared, dense_point
from sweep.trial.scoring import choose
from tests.sweep.trial.test_run import numbers


def trial(**fields):
    base = {
        "dataset": "image-folder:few",
        "model": "conv-5",
        "criterion": "snip",
        "sparsity": 0.9,
        "epochs": 3,
        "batch_size": 16,
        "lr": 0.2,
    }
    return Trial.of(Config(**(base | fields)))


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """An eighth of the digits as a folder of images: an epoch has ten steps, as with all of them."""
    digits, folder = data.load("digits", Path("data"), 0.1, 0), tmp_path_factory.mktemp("data")
    for part, split, count in (("train", digits.train, 180), ("test", digits.test, 45)):
        for number in range(count):
            label = folder / "few" / part / str(int(split.labels[number]))
            label.mkdir(parents=True, exist_ok=True)
            Image.fromarray(split.pixels[number, 0].numpy()).save(label / f"{number}.png")
    return folder


def together(trials, store, root):
    """Results of trials that share training as planned, and the steps that they trained in total."""
    found, scores = {}, {}
    for pack in plan.packs(trials, 1):
        for job in pack.jobs:
            found[job.trial.id] = run(job.trial, root, shared=Shared(store, job.path, job.saves, scores))
    return [found[each.id] for each in trials], sum(r.trial["trained_steps"] for r in found.values())


def same(results, others):
    """Check that two lists of results have the same numbers, apart from the steps that each trained itself."""
    for one, other in zip(results, others, strict=True):
        one, other = numbers(one), numbers(other)
        one[0].pop("trained_steps"), other[0].pop("trained_steps")
        assert repr(one) == repr(other), "with NaN equal to NaN"


FOUND = (prefixes.branch, prefixes.rewind_point, prefixes.teacher_point)
STUDIES = {
    "epochs and parts of them, with a dense run": [
        trial(sparsity=s, prune_epoch=t, criterion=c)
        for s, t, c in itertools.product((0, 0.9), (0, 1, 1.5, 2.05, 3), ("snip", "random"))
    ],
    "without a dense run, rewound": [
        trial(prune_epoch=t, rewind_epoch=back)
        for t, back in ((2.5, 1.05), (2.5, 0), (2, 1.05), (2, None), (1, None))
    ],
    "other layers, new weights, a second schedule": [
        trial(prune_epoch=2, criterion="magnitude", **fields)
        for fields in (
            {"layers": "3.* 6.*"},
            {"ablation": "reinit"},
            {"retrain_epochs": 1, "retrain": "bn"},
            {"structure": "filter", "retrain_epochs": 1},
            {"structure": "channel", "sparsity": 0.5},
            {"structure": "channel", "sparsity": 0.5, "shrink": True, "rewind_epoch": 0.5},
        )
    ],
    "other recipes": [
        trial(prune_epoch=t, criterion=c, sparsity=s, epochs=2, **fields)
        for fields in (
            {"optimizer": "adam", "lr": 0.01, "augment": "crop"},
            {"warmup_epochs": 0.5, "precision": "bf16", "random_labels": True},
        )
        for t, c, s in ((1, "snip", 0.9), (1, "snip", 0.5), (1.5, "random", 0.9))
    ],
    "steps, and a prune that comes after them": [
        trial(epochs=None, steps=15, prune_epoch=t, sparsity=s) for t, s in ((0, 0), (1, 0.9), (1.5, 0.9))
    ],
    "levels": [
        trial(criterion="imp", sparsity=s, iterations=n, rewind_epoch=back, epochs=2, ablation=ablation)
        for s, n, back, ablation in (
            (0.5904, 4, 0.5, "none"),
            (0.488, 3, 0.5, "none"),
            (0.2, 1, 0.5, "none"),
            (0.5904, 4, 0.5, "reinit"),
            (0.36, 2, None, "none"),
            (0.36, 2, 0.5, "none"),
        )
    ]
    + [trial(sparsity=0, epochs=2), trial(prune_epoch=0.5, epochs=2)],
    "levels of units": [
        trial(criterion="imp", sparsity=s, iterations=n, epochs=1, structure=structure, unit_score=unit_score)
        for structure, unit_score in (("channel", "sum"), ("channel", "mean"), ("filter", "sum"))
        for s, n in ((0.2, 1), (0.36, 2))
    ]
    + [trial(sparsity=0.36, structure="channel", prune_epoch=0.5, epochs=1)],
    "levels of several kinds": [
        trial(criterion="imp", sparsity=s, iterations=n, epochs=1, rewind_epoch=0.5, **fields)
        for s, n in ((0.2, 1), (0.36, 2), (0.488, 3))
        for fields in ({}, {"second": "ap", "second_share": 0.4})
    ]
    + [
        trial(criterion="sap", iterations=n, epochs=1, rewind_epoch=0.5, parameters=options)
        for n in (1, 3, 2)
        for options in ((), (("criterion.group", "layer"),))
    ],
    "scores after dense training": [
        trial(criterion=c, prune_epoch=t, epochs=2, **fields)
        for c, t, fields in (
            ("hydra", 1, {}),
            ("hydra", 1, {"rewind_epoch": 0.5}),
            ("bip", 1, {}),
            ("bip-code", 1, {"retrain_epochs": 1}),
            ("edge-popup", 0.5, {}),
            ("signed-supermask", 0.5, {}),
            ("snip", 1, {}),
        )
    ],
    "streams of their own": [
        trial(prune_epoch=1, epochs=2, seed=seed, **fields)
        for seed, fields in (
            (0, {}),
            (1, {"init_seed": 0, "order_seed": 0}),
            (1, {"init_seed": 0, "order_seed": 0, "mask_seed": 0}),
            (1, {"init_seed": 0}),
            (1, {"order_seed": 0}),
            (1, {"split_seed": "seed"}),
            (2, {"init_seed": 1, "order_seed": 1, "split_seed": 1}),
            (0, {"stratified": True}),
        )
    ]
    + [
        trial(criterion="imp", sparsity=s, iterations=n, epochs=1, seed=seed, **fields)
        for s, n, seed, fields in (
            (0.2, 1, 0, {}),
            (0.36, 2, 1, {"init_seed": 0, "order_seed": 0}),
            (0.36, 2, 1, {"order_seed": 0}),
        )
    ],
    "a dense run that teaches": [
        trial(sparsity=0, epochs=2),
        *(
            trial(prune_epoch=t, epochs=2, criterion="magnitude", retrain_loss="distill", **fields)
            for t, fields in ((0, {}), (1, {}), (2, {"retrain_epochs": 1, "retrain": "lora"}))
        ),
    ],
    "teachers without a dense run": [
        trial(prune_epoch=t, epochs=2, criterion="magnitude", **fields)
        for t, fields in (
            (0.5, {"retrain_loss": "distill"}),
            (1, {"retrain_loss": "distill", "rewind_epoch": 0.5}),
            (1.5, {}),
            (0, {"retrain_loss": "distill", "distill_weight": 0.5}),
        )
    ],
    "a training that diverges": [
        trial(model="lenet-300-100", lr=30.0, momentum=0.0, epochs=6, prune_epoch=t, sparsity=s)
        for t, s in ((0, 0), (1, 0.9), (4, 0.9), (5, 0.9), (5.5, 0.9))
    ],
}


def test_a_worker_that_reads_a_config_back_knows_the_points_of_the_plan():
    """Whole numbers are integers in the text of a config, and real numbers once they are read."""
    for asked in (trial(prune_epoch=2, rewind_epoch=1, retrain_loss="distill"), trial(lr=1, warmup_epochs=0)):
        read = Trial.parse(asked.canonical).config
        prefixes._key.cache_clear()
        own = [find(asked.config) for find in FOUND]
        prefixes._key.cache_clear()
        assert [find(read) for find in FOUND] == own and repr(read) != repr(asked.config)


@pytest.mark.slow
@pytest.mark.parametrize("study", STUDIES)
def test_shared_training_is_done_once_and_changes_no_number(study, tmp_path, root):
    trials = list({each.id: each for each in STUDIES[study]}.values())
    alone = [run(each, root) for each in trials]
    shared, steps = together(trials, Store(tmp_path), root)
    same(shared, alone)
    apart = sum(result.trial["trained_steps"] for result in alone)
    assert steps < apart
    if study != "a training that diverges":
        assert steps == plan.work(plan.share(trials), lambda config: 10).shared


@pytest.mark.slow
def test_a_prune_after_the_end_of_training_harms_no_other_trial(tmp_path, root):
    """Only the data say how many steps an epoch has: the plan cannot know that the prune comes too late."""
    good = [trial(epochs=None, steps=15, prune_epoch=t, sparsity=s) for t, s in ((0, 0), (1, 0.9))]
    bad = trial(epochs=None, steps=15, prune_epoch=4)
    jobs = [job for pack in plan.packs([*good, bad], 1) for job in pack.jobs if job.trial != bad]
    store = Store(tmp_path)
    found = {job.trial.id: run(job.trial, root, shared=Shared(store, job.path, job.saves)) for job in jobs}
    same([found[each.id] for each in good], [run(each, root) for each in good])
    assert 0 <= plan.work(plan.share([*good, bad]), lambda config: 10).saved < 1


@pytest.mark.slow
def test_lost_or_damaged_states_cost_time_only(tmp_path, root):
    trials = STUDIES["without a dense run, rewound"]
    alone = [run(each, root) for each in trials]
    jobs = [job for pack in plan.packs(trials, 1) for job in pack.jobs]
    store = Store(tmp_path)
    found = {}
    for number, job in enumerate(jobs):
        found[job.trial.id] = run(job.trial, root, shared=Shared(store, job.path, job.saves))
        states = sorted(tmp_path.glob("*.pt"))
        if states and number % 2:
            states[0].unlink()
        elif states:
            states[-1].write_bytes(states[-1].read_bytes()[:1000])
    same([found[each.id] for each in trials], alone)


def foreign(state):
    """Files that torch can read but that are not the state: kind → content."""
    weights = state["model"]
    first = next(iter(weights))
    return {
        "a list": [1, 2],
        "a tensor": torch.zeros(3),
        "a number": 7,
        "text": "state",
        "nothing": None,
        "other keys": {"a": 1},
        "no weights": {**state, "model": {}},
        "another network": {**state, "model": {**weights, first: torch.zeros(3, 3)}},
        "weights of another type": {**state, "model": {**weights, first: weights[first].double()}},
        "another optimizer": {**state, "optimizer": {"state": {}, "param_groups": []}},
        "momentum of another network": {
            **state,
            "optimizer": {**state["optimizer"], "state": {0: {"momentum_buffer": torch.zeros(9)}}},
        },
        "a part left out": {name: value for name, value in state.items() if name != "sum"},
        "steps as text": {**state, "step": "10"},
        "curves of text": {**state, "curves": ["x"]},
        "curves with another column": {**state, "curves": [{"phase": "dense", "x": 1}]},
        "masks of other weights": {**state, "masks": {first: torch.ones(2, dtype=torch.bool)}},
        "curves of another type": {**state, "curves": [{"phase": "dense", "epoch": [1]}]},
    }


# Pairs of short trials that share one state; each pair runs once with every foreign file.
PAIRS = {
    "rewound": [
        trial(model="lenet-300-100", epochs=2, prune_epoch=1.5, rewind_epoch=back) for back in (1.05, 0)
    ],
    "levels": [
        trial(model="lenet-300-100", criterion="imp", sparsity=s, iterations=n, rewind_epoch=0.5, epochs=1)
        for s, n in ((0.2, 1), (0.36, 2))
    ],
    "levels that choose their counts": [
        trial(model="lenet-300-100", criterion="sap", iterations=n, epochs=1) for n in (1, 2)
    ],
}


@pytest.mark.slow
@pytest.mark.parametrize("pair", PAIRS)
def test_foreign_files_in_the_place_of_states_cost_time_only(tmp_path, pair, root):
    trials = PAIRS[pair]
    alone = [run(each, root) for each in trials]
    jobs = [job for pack in plan.packs(trials, 1) for job in pack.jobs]
    own = Store(tmp_path / "own")
    for job in jobs:
        run(job.trial, root, shared=Shared(own, job.path, job.saves))
    states = {path.name: torch.load(path) for path in (tmp_path / "own").glob("*.pt")}
    assert states and all(state["curves"] for state in states.values())
    for kind in foreign(next(iter(states.values()))):
        folder = tmp_path / kind
        folder.mkdir()
        store = Store(folder)
        for name, state in states.items():
            content = foreign(state)[kind]
            torch.save(content, folder / name)
            if isinstance(content, dict):  # even with a seal
                store.save(name.removesuffix("-cpu.pt"), content)
        same(
            [run(job.trial, root, shared=Shared(store, job.path, job.saves)) for job in jobs],
            [alone[trials.index(job.trial)] for job in jobs],
        )


@pytest.mark.slow
def test_a_killed_trial_goes_on_from_the_states_that_it_saved(tmp_path, root):
    trials = [trial(prune_epoch=t, criterion=c) for t in (1, 2) for c in ("snip", "random")]
    [maker] = [job for chain in plan.share(trials) for job in chain if job.saves]
    store = Store(tmp_path)
    first = run(maker.trial, root, shared=Shared(store, maker.path, maker.saves))
    again = run(maker.trial, root, shared=Shared(store, maker.path, maker.saves))
    same([again], [first])
    assert (first.trial["trained_steps"], again.trial["trained_steps"]) == (30, 10)


def test_a_disk_that_takes_no_state_loses_no_trial(tmp_path, root):
    blocked = tmp_path / "file"
    blocked.write_text("a file in the place of the folder")
    point = dense_point(trial().config, 1)
    result = run(trial(prune_epoch=1), root, shared=Shared(Store(blocked), (point,), (point,)))
    assert result.trial["status"] == "ok"


def test_states_of_another_kind_of_device_are_not_loaded(tmp_path):
    Store(tmp_path, "cuda").save("key", {"step": 1})
    assert Store(tmp_path, "cuda").load("key") == {"step": 1}
    assert not Store(tmp_path, "cpu").has("key") and Store(tmp_path, "cpu").load("key") is None


def test_a_state_is_removed_when_no_study_needs_it(tmp_path):
    store = Store(tmp_path / "prefixes")
    mine = Claims(store, "mine", {"a": {"x", "y"}, "b": {"y"}})
    others = Claims(store, "others", {"c": {"x"}})
    for key in ("x", "y"):
        store.save(key, {})
    mine.done("a")
    assert store.has("x") and store.has("y")
    mine.done("b")
    assert store.has("x") and not store.has("y")
    others.done("c")
    assert store.has("x"), "the first study may still be launched again"
    mine.close()
    others.close()
    assert not store.folder.exists()


def test_unreadable_claims_of_other_studies_and_a_missing_folder_break_nothing(tmp_path):
    """Claims that vanish while they are listed, claims that are no text, and a folder that cannot exist."""
    store = Store(tmp_path / "prefixes")
    claims = Claims(store, "mine", {"a": {"x"}})
    store.save("x", {})
    (store.folder / "gone.needs").symlink_to("nowhere")
    (store.folder / "strange.needs").write_bytes(b"\xff\xfe")
    claims.done("a")
    assert store.has("x"), "the study with unreadable claims may need it"
    (store.folder / "strange.needs").unlink()
    claims.done("a")
    assert not store.has("x")
    (tmp_path / "file").write_text("")
    Claims(Store(tmp_path / "file"), "mine", {"a": {"x"}}).close()


def test_states_of_a_killed_launch_are_removed_by_the_next_launch(tmp_path):
    store = Store(tmp_path / "prefixes")
    Claims(store, "mine", {"a": {"x"}})
    store.save("x", {})
    again = Claims(store, "mine", {})
    assert store.has("x")
    again.close()
    assert not store.folder.exists()


@pytest.mark.slow
def test_scores_of_one_network_serve_every_sparsity_and_scope(monkeypatch, root):
    import pruners.pruning
    from sweep.trial import network

    calls = []
    plain = pruners.pruning.score

    def counted(*args, **options):
        calls.append(args[0][0].name)
        return plain(*args, **options)

    monkeypatch.setattr(pruners.pruning, "score", counted)
    asked = [
        trial(criterion=c, sparsity=s, scope=scope, iterations=n).config
        for c, n in (("snip", 1), ("force", 3))
        for s in (0.5, 0.9)
        for scope in ("global", "uniform")
    ]
    loaded = data.load(asked[0].dataset, root, 0.1, 0)
    model = network.built(asked[0], loaded, 0, "init")
    alone = [choose(config, model, loaded) for config in asked]
    assert len(calls) == 4 + 4 * 3
    calls.clear()
    cache = {}
    for config, expected in zip(asked, alone, strict=True):
        step = choose(config, model, loaded, cache)
        assert all(torch.equal(step.masks[name], mask) for name, mask in expected.masks.items())
        assert all(torch.equal(step.scores[name], score) for name, score in expected.scores.items())
    assert len(calls) == 1 + 1 + 4 * 2 and len(cache) == 1
