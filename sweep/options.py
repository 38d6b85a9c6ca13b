"""Command-line options of the commands that run trials, and the end of such a command."""

import math
import os
import re
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from sweep.engine import scratch
from sweep.engine.options import AUTO, TUNE, Gpus
from sweep.errors import BadInput

ResultsAt = Annotated[str, typer.Option("--results", help="folder for results, or a URI: s3://BUCKET/PREFIX")]
Known = Annotated[
    list[str] | None,
    typer.Option(
        "--known", help="more results to take over trials from: a folder, or a URI; only read; repeatable"
    ),
]
DataRoot = Annotated[str, typer.Option(help="folder of the data sets, or a URI: s3://BUCKET/PREFIX")]


def cluster_here(address: str | None) -> str | None:
    """The given address, or None for `local`; without one, `auto` on the head of what `ray up` made."""
    if address == "local":
        return None
    # Ray keeps the first file while a cluster runs; only its head has the second.
    running = Path("/tmp/ray/ray_current_cluster"), Path.home() / "ray_bootstrap_config.yaml"
    # Not Path.exists: the folder may be closed to this user.
    return address or ("auto" if all(os.access(file, os.R_OK) for file in running) else None)


Address = Annotated[
    str | None,
    typer.Option(
        envvar="RAY_ADDRESS",
        callback=cluster_here,
        help="Ray cluster to run on; default: on a head or in a job its own, elsewhere one started here",
    ),
]
Workers = Annotated[
    int | None,
    typer.Option(min=1, help="trials at once, up to which a cluster may grow; default: as many as have room"),
]


def gpus(text: str) -> Gpus:
    """Parse a share of a GPU.

    Returns:
        The share, or `AUTO`: it is measured.

    Raises:
        typer.BadParameter: the text is neither.
    """
    try:
        share = float(text)
    except ValueError:
        share = -1
    if text == AUTO:
        return AUTO
    if not 0 <= share < math.inf:
        raise typer.BadParameter(f"{text!r} is no share of a GPU: a number such as 0.25, or {AUTO}")
    return share


GpusPerTrial = Annotated[
    Any,
    typer.Option(parser=gpus, metavar="SHARE", help="share of a GPU each trial gets; auto: by its memory"),
]


def launch_part(text: str) -> tuple[int, int]:
    """Parse a part of a launch, such as 2/4: its number, and how many parts there are.

    Raises:
        typer.BadParameter: there is no such part.
    """
    found = re.fullmatch(r"([0-9]{1,5})/([0-9]{1,5})", text)
    number, of = map(int, found.groups()) if found else (0, 0)
    if not 1 <= number <= of:
        first = f"1/{of}" if of else "1/4"
        raise typer.BadParameter(f"{text!r} is no part: the first is {first}, the last {of or 4}/{of or 4}")
    return number, of


Part = Annotated[
    Any,
    typer.Option(
        parser=launch_part,
        metavar="I/N",
        help="run part I (from 1) of N: N launches, one for each part, share the folder of results",
    ),
]
StudyFile = Annotated[
    Path,
    typer.Argument(
        metavar="study", help="a study file, or the name of one that comes along; -: standard input"
    ),
]
Settings = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="FIELD=VALUES", help="values in place of the study's; FIELD+=VALUES adds; repeatable"
    ),
]
FurtherSettings = Annotated[
    list[str] | None,
    typer.Argument(metavar="field=values", help="further values of --set", show_default=False),
]


def settings(first: list[str] | None, further: list[str] | None) -> list[str]:
    """All values of `--set`, which takes one, and those that follow it.

    Raises:
        BadInput: there are only arguments that no `--set` goes before.
    """
    if further and not first:
        raise BadInput(f"{further[0]}: one study at a time; values of its fields follow --set")
    return [*(first or ()), *(further or ())]


TrialSeconds = Annotated[float, typer.Option(min=0.1, help="seconds after which a trial is ended, as failed")]
CheckpointMinutes = Annotated[
    float,
    typer.Option(
        min=0, help="minutes between checkpoints of a trial, from which it goes on if killed; 0: none"
    ),
]
Slurm = Annotated[
    str | None,
    typer.Option(
        metavar="OPTIONS",
        help="run as a job of SLURM with these options of sbatch, and follow the job: "
        '"--partition=gpu --gres=gpu:4 --time=8:00:00"',
    ),
]
MaxHours = Annotated[float, typer.Option(min=0, help="hours after which to stop")]


def leave(program: Callable[[], NoReturn]) -> NoReturn:
    """Run a program that runs trials, and end the process."""
    try:
        program()
    except SystemExit as end:
        # After an interrupt Tune's thread still uses Ray, and shutting Ray down under it can crash. All
        # results are on disk: leaving in one step ends the thread.
        if any(thread.name == TUNE and thread.is_alive() for thread in threading.enumerate()):
            scratch.remove_all()  # ends Ray's processes
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(end.code if isinstance(end.code, int) else 1)
        raise
