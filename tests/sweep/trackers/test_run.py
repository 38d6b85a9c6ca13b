"""What a trial is to every tracker, and that nothing in its row can be more than text there."""

import pytest

from sweep.trackers import Run
from tests.sweep.trackers.made import BEGAN, CONFIG, HOSTILE, rows


def test_a_run_has_the_fields_of_the_config_and_the_numbers_of_the_row():
    run = Run.of(*rows(), ["paper"])
    assert run.name == "snip sparsity 0.9 seed 0"
    assert run.params == {k: v for k, v in CONFIG.items() if k not in ("loss", "protocol")}
    assert run.numbers == {"test_accuracy": 0.5, "kept": 10.0, "ece_test": 0.25}
    assert run.tags["launch"] == "l1" and run.tags["tags"] == "paper" and run.status == "ok"
    assert "source" not in run.tags and (run.began, run.ended - run.began) == (BEGAN.timestamp(), 60.0)


def test_curves_are_in_the_order_of_the_training_and_numbers_that_are_not_finite_are_gaps():
    trial, curves, metrics = rows()
    dense = {"phase": "dense", "epoch": 2.0, "val_accuracy": 0.7}
    levels = [{"phase": f"level {level}", "epoch": 1.0, "val_accuracy": level / 100} for level in (10, 9)]
    run = Run.of(trial, [*curves[::-1], *levels, dense], metrics)
    assert [point.step for point in run.points] == [1, 2, 3, 4, 5]
    assert [point.values["curve/val_accuracy"] for point in run.points] == [0.7, 0.09, 0.1, 0.1, 0.2]
    assert ["curve/train_loss" in point.values for point in run.points[-2:]] == [False, True]
    assert run.points[-1].time == BEGAN.timestamp() + 4.0


def test_seeds_and_sparsities_of_an_arm_are_one_group_and_every_other_field_is_another():
    def group(**config):
        return Run.of(*rows(config=config)).group

    assert group(seed=1, sparsity=0.5) == group()
    assert len({group(), group(lr=0.2), group(criterion="random"), group(nesterov=True)}) == 4
    assert group().startswith("snip, digits, conv-5, 2 epochs, pruned at epoch 0 #")


def test_a_later_run_and_another_tag_are_another_version():
    versions = {Run.of(*rows(**more)).version for more in ({}, {"later": 1}, {"tags": ["paper"]})}
    assert len(versions) == 3 and Run.of(*rows()).version in versions


@pytest.mark.parametrize("config", ["[1", "{}", '{"dataset":"d","model":"m","criterion":"c","scope":3}'])
def test_a_config_that_no_study_has_is_a_run_too(config):
    trial, curves, metrics = rows()
    assert (
        Run.of(trial | {"config": config, "finished_at": None, "started_at": None}, curves, metrics).ended
        == 0
    )


def test_what_others_wrote_is_short_plain_text():
    config = {"criterion": HOSTILE, HOSTILE: HOSTILE, "big": 10**400, "sparsity": 0.9, "seed": 0}
    run = Run.of(*rows(HOSTILE, config=config, study=HOSTILE, error=HOSTILE), [HOSTILE])
    names = [run.trial_id, *run.params, *run.numbers]
    assert all("/" not in name and not name.startswith(".") and len(name.encode()) <= 120 for name in names)
    texts = [run.name, run.group, run.study, *run.words, *run.tags.values(), *map(str, run.params.values())]
    assert all(text.isprintable() and len(text) <= 1000 for text in texts)
