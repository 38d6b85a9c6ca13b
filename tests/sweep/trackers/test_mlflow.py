"""MLflow, against its own server."""

import pytest

from sweep.trackers import Run, Service
from tests.sweep.trackers.made import HOSTILE, rows

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore:::mlflow.*")]


@pytest.fixture(scope="module")
def client(mlflow_uri):
    from mlflow import MlflowClient

    return MlflowClient(mlflow_uri)


@pytest.fixture(scope="module")
def tracker(mlflow_uri, tmp_path_factory):
    return Service.MLFLOW.tracker(tmp_path_factory.mktemp("results"), mlflow_uri)


def runs(client, study, condition=""):
    return client.search_runs([client.get_experiment_by_name(study).experiment_id], condition)


def test_a_trial_is_a_run_with_its_config_its_curves_and_its_tags(tracker, client):
    config = {f"part.{number}": number for number in range(250)}
    run = Run.of(*rows(study="whole", epochs=200, config=config, status="stopped"), ["paper"])
    assert tracker.log(run)
    [found] = runs(client, "whole", "params.criterion = 'snip' AND metrics.test_accuracy > 0.4")
    assert found.data.params == {key: str(value) for key, value in run.params.items()}
    assert found.data.metrics.items() >= run.numbers.items()
    assert found.data.tags.items() >= run.tags.items() and found.info.run_name == run.name
    assert (found.info.start_time, found.info.end_time) == (run.began * 1000, run.ended * 1000)
    assert found.info.status == "KILLED"
    history = client.get_metric_history(found.info.run_id, "curve/val_accuracy")
    assert [(each.step, each.value) for each in sorted(history, key=lambda each: each.step)] == [
        (epoch, epoch / 10) for epoch in range(1, 201)
    ]


def test_a_trial_is_there_once_whatever_comes_again(tracker, client):
    def log(**more):
        return tracker.log(Run.of(*rows(study="again", **more)))

    assert [log(), log(), log(tags=["paper"]), log()] == [True, False, True, True]
    [found] = runs(client, "again")
    assert found.data.tags["tags"] == "", "the tag was taken back"
    assert [log(later=1), log(later=1)] == [True, False]
    [found] = runs(client, "again")
    assert found.data.metrics["test_accuracy"] == 0.51
    # As a launch leaves it that dies while it logs.
    client.update_run(found.info.run_id, status="RUNNING")
    assert log(later=1)
    [found] = runs(client, "again")
    assert found.info.status == "FINISHED"


def test_names_of_others_are_text(tracker, client):
    config = {"criterion": HOSTILE, HOSTILE: HOSTILE, "sparsity": 0.9, "seed": 0}
    trial, curves, _ = rows(HOSTILE, study=HOSTILE[:200], config=config, error=HOSTILE)
    run = Run.of(trial, curves, [{"name": HOSTILE, "split": "test", "value": 1e60}])
    assert [tracker.log(run), tracker.log(run)] == [True, False]
    assert len(runs(client, run.study)) == 1
