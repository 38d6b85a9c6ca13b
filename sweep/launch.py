"""`python -m sweep.launch [STUDY]`: run the trials of a study that have no result yet."""

import gc
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, NoReturn

import typer
from rich.console import Console

from sweep.engine import reuse
from sweep.engine.options import Options
from sweep.errors import BadInput, command
from sweep.launching import Again, Launch
from sweep.options import (
    Address,
    CheckpointMinutes,
    DataRoot,
    FurtherSettings,
    GpusPerTrial,
    Known,
    MaxHours,
    ResultsAt,
    Settings,
    Slurm,
    StudyFile,
    TrialSeconds,
    Workers,
    leave,
    settings,
)
from sweep.reporter import Form, FormOption, Quiet, reported
from sweep.slurm.submission import as_job
from sweep.store import launches
from sweep.store.places import Place, place
from sweep.study import Study
from sweep.study import load as load_study
from sweep.trackers import Service

app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)

Rerun = Annotated[
    str | None, typer.Option(metavar="CONDITION", help="run trials again for whose results this SQL holds")
]


@app.command()
def launch(
    path: StudyFile = Path("quickstart"),
    further: FurtherSettings = None,
    *,
    set_: Settings = None,
    results_root: ResultsAt = "results",
    known: Known = None,
    data_root: DataRoot = "data",
    address: Address = None,
    workers: Workers = None,
    gpus_per_trial: GpusPerTrial = 0,
    max_trials: Annotated[int | None, typer.Option(min=1, help="trials to run now, at most")] = None,
    max_hours: MaxHours = math.inf,
    trial_seconds: TrialSeconds = math.inf,
    checkpoint_minutes: CheckpointMinutes = 10,
    max_failures: Annotated[int | None, typer.Option(min=1, help="failed trials after which to stop")] = None,
    max_retries: Annotated[int, typer.Option(min=0, help="further tries of a trial whose worker died")] = 3,
    retry_failed: Annotated[bool, typer.Option("--retry-failed", help="run failed trials again")] = False,
    rerun: Rerun = None,
    download: Annotated[bool, typer.Option("--download", help="get data sets that are missing")] = False,
    log: Annotated[Service | None, typer.Option(help="also log to this service")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="say what would run, and stop")] = False,
    slurm: Slurm = None,
    form: FormOption = Form.TEXT,
    quiet: Quiet = False,
) -> int:
    """Run the trials of STUDY that have no result yet. Ctrl-C keeps what is done; the same command goes on.

    Exit code 0: every trial has a result, or as many as --max-trials and --max-hours allow; 1: some failed;
    2: bad input; 130: interrupted.
    """
    options = Options(
        data_root=data_root,
        address=address,
        workers=workers,
        gpus=gpus_per_trial,
        max_hours=max_hours,
        max_failures=max_failures or math.inf,
        retries=max_retries,
        trial_seconds=trial_seconds,
        checkpoint_minutes=checkpoint_minutes,
        log=log,
    )

    def work(console: Console) -> int:
        root = place(results_root)
        study = _load(path, root if dry_run else None, settings(set_, further))
        launch = Launch(
            results_root=root,
            options=options,
            libraries=reuse.libraries(known or ()),
            again=Again(rerun, retry_failed),
            most=max_trials,
            download=download,
            dry_run=dry_run,
        )
        return launch.run(study, console) if slurm is None else as_job(study, launch, slurm, console)

    return reported(form, quiet, work)


def _load(path: Path, results_root: Place | None, settings: Sequence[str]) -> Study:
    """The study of a file.

    Args:
        results_root: where parts that the study names may be recorded, if their code need not be here.

    Raises:
        BadInput: it is no study, or one that searches.
    """
    recorded = None if results_root is None else (lambda name: launches.parts_of(results_root / name))
    study = load_study(path, recorded, settings)
    if study.search:
        raise BadInput(f"{path}: this study searches: python -m sweep.search {path}")
    return study


def main(program: str = "sweep.launch") -> NoReturn:
    """The command line."""
    # Imported objects stay: the garbage collector need not visit them for every few thousand trials.
    gc.freeze()
    leave(lambda: command(app, program))


if __name__ == "__main__":
    main()
