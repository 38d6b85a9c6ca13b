"""Weights & Biases: a trial is a run of the study's project, in the group of its arm."""

import os
from pathlib import Path
from typing import Any

from sweep.errors import BadInput
from sweep.store.places import Place
from sweep.trackers.run import Run, name
from sweep.trackers.service import Tracker

_LONGEST_TAG = 64
_VERSION = "version"


def check(results: Place, to: str | None) -> None:
    """Raise `BadInput` where the library would ask for a key at the terminal."""
    import wandb

    if wandb.setup().settings.mode == "online" and not wandb.login(prompt=False):
        raise BadInput("wandb: there is no key here: run wandb login, or set WANDB_MODE=offline")


def tracker(results: Place, to: str | None) -> Tracker:
    """Weights & Biases. Its files go to the folder `to`; None: to that of WANDB_DIR, or the current one."""
    return Wandb(Path(to or os.environ.get("WANDB_DIR") or "."))


class Wandb:
    """Runs of Weights & Biases, which WANDB_MODE sends at once, or leaves in a folder for `wandb sync`."""

    def __init__(self, folder: Path) -> None:
        import wandb

        folder.mkdir(parents=True, exist_ok=True)
        self._wandb, self._folder = wandb, folder
        # Offline nothing but these files says what was logged: wandb/offline-run-TIME-ID/version-VERSION.
        files = folder.glob(f"wandb/offline-run-*/{_VERSION}-*")
        self._marks: list[Path] = []
        self._there = {(file.parent.name.split("-", 3)[-1], file.name) for file in files}
        self._quiet = wandb.Settings(
            silent=True,
            console="off",
            disable_git=True,
            disable_code=True,
            save_code=False,
            x_disable_stats=True,
            x_disable_meta=True,
            x_save_requirements=False,
        )

    def log(self, run: Run) -> bool:
        """Log a trial, unless it is there as it is. Epochs of a later run of it follow the earlier ones."""
        key = f"{name(run.study)[:60]}-{run.trial_id}"
        version = f"{_VERSION}-{run.version}"
        if (key, version) in self._there:
            return False
        logged = self._wandb.init(
            project=os.environ.get("WANDB_PROJECT") or name(run.study),
            id=key,
            name=run.name,
            group=run.group,
            job_type=f"sparsity {run.params.get('sparsity')}",
            tags=[word[:_LONGEST_TAG] for word in run.words],
            config={**run.params, **run.tags},
            dir=self._folder,
            resume="allow",
            reinit="create_new",
            settings=self._quiet,
        )
        failed = True
        try:
            known = logged.summary.get(_VERSION) == run.version
            if not known:
                self._fill(logged, run)
            failed = run.status not in ("ok", "stopped")
        finally:
            logged.finish(exit_code=int(failed))
        self._there.add((key, version))
        if logged.offline:
            self._marks.append(Path(logged.dir).parent / version)
        return not known

    def close(self) -> None:
        """End the library's own process, which writes the rest of the files first."""
        self._wandb.teardown()
        for mark in self._marks:
            mark.touch()

    def _fill(self, logged: Any, run: Run) -> None:
        logged.config.update({**run.params, **run.tags}, allow_val_change=True)
        before = logged.step
        for point in run.points:
            logged.log({**point.values, "_timestamp": point.time}, step=before + point.step)
        # The version comes last: without it the run is logged again.
        logged.summary.update({**run.numbers, "status": run.status})
        logged.summary.update({_VERSION: run.version})
