"""MLflow: a trial is a run of the study's experiment; its tag `group` is the arm."""

import os
from collections.abc import Iterator, Sequence
from itertools import islice, zip_longest
from typing import Any, TypeVar

from sweep.store.places import Place
from sweep.trackers.run import Run
from sweep.trackers.service import Tracker

T = TypeVar("T")

_SETTINGS = {
    # With MLflow's own 7 a server that is away holds each trial up for minutes.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    # It would report to MLflow's makers what is called.
    "MLFLOW_DISABLE_TELEMETRY": "true",
}
# What one request takes: metrics beside params or tags.
_METRICS, _PARAMS = 900, 100
# MLflow's word for the status of a trial that is `ok`, `stopped`, or anything else.
_STATUS = {"ok": "FINISHED", "stopped": "KILLED"}
_RUNNING = "RUNNING"
_VERSION = "version"


def tracker(results: Place, to: str | None) -> Tracker:
    """MLflow at a tracking URI; None: the one of MLFLOW_TRACKING_URI, or MLflow's default."""
    for name, value in _SETTINGS.items():
        os.environ.setdefault(name, value)
    return Mlflow(to)


class Mlflow:
    """Runs of MLflow. A run whose status is RUNNING was being logged when a launch died."""

    def __init__(self, uri: str | None) -> None:
        from mlflow import MlflowClient, entities

        self._client, self._entities = MlflowClient(tracking_uri=uri), entities
        self._experiments: dict[str, str] = {}

    def log(self, run: Run) -> bool:
        """Log a trial, unless it is there as it is; tags that have changed are set."""
        experiment = self._experiment(run)
        earlier = self._earlier(run, experiment)
        tags = {**run.tags, _VERSION: run.version}
        if earlier:
            known = earlier.data.tags
            if earlier.info.status != _RUNNING and known.get("finished_at") == tags.get("finished_at"):
                if known.get(_VERSION) == run.version:
                    return False
                # A tag that the trial lost becomes empty.
                self._set_tags(earlier.info.run_id, {"tags": "", **tags})
                return True
            self._client.delete_run(earlier.info.run_id)
        began, ended = (int(seconds * 1000) for seconds in (run.began, run.ended))
        created = self._client.create_run(experiment, began, tags, run.name).info.run_id
        metrics = [self._metric(key, value, run.ended, 0) for key, value in run.numbers.items()]
        metrics += [
            self._metric(key, value, point.time, point.step)
            for point in run.points
            for key, value in point.values.items()
        ]
        params = [self._entities.Param(key, str(value)) for key, value in run.params.items()]
        for some, further in zip_longest(_cut(metrics, _METRICS), _cut(params, _PARAMS), fillvalue=()):
            self._client.log_batch(created, metrics=some, params=further)
        self._client.set_terminated(created, _STATUS.get(run.status, "FAILED"), ended)
        return True

    def close(self) -> None:
        """Nothing is open."""

    def _experiment(self, run: Run) -> str:
        """The id of the experiment: that of MLFLOW_EXPERIMENT_NAME, or of the study."""
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME") or run.study
        if name not in self._experiments:
            found = self._client.get_experiment_by_name(name)
            self._experiments[name] = found.experiment_id if found else self._client.create_experiment(name)
        return self._experiments[name]

    def _earlier(self, run: Run, experiment: str) -> Any:
        """The run of the trial that is there already; None: there is none."""
        found = self._client.search_runs([experiment], f"tags.trial_id = '{run.trial_id}'")
        return next((each for each in found if each.data.tags.get("study") == run.study), None)

    def _set_tags(self, run_id: str, tags: dict[str, str]) -> None:
        self._client.log_batch(run_id, tags=[self._entities.RunTag(*item) for item in tags.items()])

    def _metric(self, key: str, value: float, time: float, step: int) -> Any:
        return self._entities.Metric(key, value, int(time * 1000), step)


def _cut(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    rest = iter(items)
    while some := tuple(islice(rest, size)):
        yield some
