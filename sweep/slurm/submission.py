"""`python -m sweep.launch STUDY --slurm OPTIONS`: the launch as a job, from its check to its end."""

import sys
from dataclasses import replace

from rich.console import Console

from sweep.errors import BadInput
from sweep.launching import Launch
from sweep.reporter import conclude, note
from sweep.slurm import queue
from sweep.slurm.follow import follow
from sweep.slurm.script import batch_script, name, options
from sweep.slurm.words import value, without
from sweep.study import Study


def as_job(study: Study, launch: Launch, slurm: str, console: Console) -> int:
    """Submit a launch as a job and follow the job, or the one that runs the study already.

    Args:
        slurm: options of sbatch.

    Returns:
        The exit code of the launch in the job; 130 after Ctrl-C, which leaves the job alone.

    Raises:
        BadInput: the study or an option cannot be run, or SLURM refuses the job.
    """
    given = options(slurm)
    words = without(sys.argv[1:], "--slurm", "--format", flags=("--dry-run", "--quiet", "-q"))
    if "-" in words:
        raise BadInput("-: a job has no standard input: give the study as a file")
    if value(words, "--address") is not None:
        raise BadInput("--address: a job has a Ray cluster of its own: leave it out")
    job = name(study.name, launch.results_root / study.name, value(words, "--part") or "")
    script = batch_script(job, given, words)
    # Checked here is what does not take the machines of the job.
    here = replace(launch, options=replace(launch.options, gpus=0, address=None))
    if launch.dry_run:
        here.unfinished(study)
        conclude(console, script.rstrip("\n"))
        note(console, script=script)
        return 0
    if number := queue.find(job):
        console.out(f"{study.name}: job {number} runs it already, as it was submitted", highlight=False)
        return follow(number, job, console, tail=True)
    if not here.unfinished(study):
        return here.run(study, console)
    number = queue.submit(script)
    console.out(f"{study.name}: submitted as job {number}", highlight=False)
    return follow(number, job, console, tail=False)
