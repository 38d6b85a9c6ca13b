"""`python -m sweep.trial ID`: run one trial again in this process, and write its network to a file."""

import pdb
import traceback
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated

import torch
import typer
from rich.console import Console

from sweep.errors import BadInput, command
from sweep.parts import BadPart
from sweep.reporter import Form, FormOption, Quiet, conclude, note, reported
from sweep.store.places import place
from sweep.trial import again, files
from sweep.trial.again import Earlier
from sweep.trial.files import Export
from sweep.trial.rows import Row
from sweep.trial.stages import Stages

app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)


@app.command()
def trial(
    text: Annotated[
        str, typer.Argument(metavar="id", help="the id of a trial, its first digits, or a canonical config")
    ],
    *,
    out: Annotated[
        Path | None,
        typer.Option(help="write weights, masks and config to this .safetensors file; replaces it"),
    ] = None,
    export: Annotated[
        Export | None, typer.Option(help="also write a program that runs elsewhere, beside --out")
    ] = None,
    results_root: Annotated[
        str, typer.Option("--results", help="folder of one study or of all, or a URI: s3://BUCKET/PREFIX")
    ] = "results",
    data_root: Annotated[str, typer.Option(help="folder of the data sets, or a URI")] = "data",
    device: Annotated[str, typer.Option(help="to run on, such as cpu or cuda")] = "cpu",
    study: Annotated[
        Path | None, typer.Option(help="study file that names the trial's parts of your own")
    ] = None,
    kept: Annotated[
        bool, typer.Option("--kept", help="take the weights that the study kept, and do not run the trial")
    ] = False,
    verbose: Annotated[bool, typer.Option("--verbose", help="a line for each epoch")] = False,
    debug: Annotated[
        bool, typer.Option("--pdb", help="start Python's debugger where the trial fails")
    ] = False,
    form: FormOption = Form.TEXT,
    quiet: Quiet = False,
) -> int:
    """Run one trial of the results again, and say how far its accuracy is from that of its row.

    Exit code 0: the trial ended, whatever its accuracy; 1: it failed or diverged; 2: bad input.
    """

    def work(console: Console) -> int:
        _check(out, export, device)
        root = place(results_root)
        earlier = again.find(text, root)
        again.need_parts(earlier.trial, study)
        starts = again.starts(earlier.trial, root, data_root, device)
        follow = partial(_say_epoch, console) if verbose else (lambda row: None)
        if kept:
            give = partial(again.from_kept, earlier, data_root, device, starts)
        else:
            give = partial(again.run_again, earlier.trial, data_root, device, starts, follow)
        ran = _tried(give, console, earlier, debug)
        if not ran:
            return 1
        stages, outcome = ran
        _say_end(console, earlier, outcome, device)
        if outcome["status"] != "ok":
            return 1
        if out:
            _write(console, out, export, earlier, stages, outcome)
        return 0

    return reported(form, quiet, work)


def _tried(
    run: Callable[[], tuple[Stages, Row]], console: Console, earlier: Earlier, debug: bool
) -> tuple[Stages, Row] | None:
    """What a trial gives; None: it failed, which is printed, and debugged if that is asked for.

    Raises:
        BadInput: the trial cannot be run.
    """
    try:
        return run()
    except (Exception, SystemExit) as error:  # code of one's own may call sys.exit
        if isinstance(error, BadInput) and not isinstance(error, BadPart):
            raise
        note(console, trial=earlier.trial.id, status="failed", error=repr(error))
        traceback.print_exception(error)
        if debug:
            pdb.post_mortem(error.__traceback__)
        return None


def _check(out: Path | None, export: Export | None, device: str) -> None:
    """Check options before a trial runs for hours.

    Raises:
        BadInput: there is no such device, or files of the network cannot be written.
    """
    if out and (out.suffix != files.SUFFIX or out.is_dir()):
        raise BadInput(f"--out {out}: the name of a file that ends in {files.SUFFIX}")
    if export and not out:
        raise BadInput(
            f"--export {export}: the program is written beside --out: give --out FILE{files.SUFFIX}"
        )
    if export:
        export.check()
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        why = str(error).partition("\n")[0]
        raise BadInput(f"--device {device}: {why}") from None


def _say_epoch(console: Console, row: Row) -> None:
    console.out(
        f"{row['phase']:8} epoch {row['epoch']:<6g} loss {row['train_loss']:<8.4f} "
        f"validation {row['val_accuracy']:.4f}  kept {row['kept']:,}",
        highlight=False,
    )


def _say_end(console: Console, earlier: Earlier, outcome: Row, device: str) -> None:
    said = again.compared(outcome, earlier.recorded, _name(device))
    conclude(console, said)
    row = earlier.recorded.row if earlier.recorded else None
    note(
        console,
        trial=earlier.trial.id,
        said=said,
        test_accuracy_of_row=row and row["test_accuracy"],
        **outcome,
    )


def _write(
    console: Console, out: Path, export: Export | None, earlier: Earlier, stages: Stages, outcome: Row
) -> None:
    header = files.header_of(earlier.trial, stages, outcome)
    files.write_weights(out, stages, header)
    written = [out]
    kept = f"{outcome['kept']:,} of {outcome['params']:,} weights kept, density {outcome['density']:.4g}"
    console.out(f"{out}: {kept}", highlight=False)
    if export:
        path = out.with_suffix(export.suffix)
        files.write_export(path, export, stages, header)
        written.append(path)
        form = stages.data.form
        kind, shape = str(form.dtype).removeprefix("torch."), ", ".join(map(str, form.shape))
        said = f"takes inputs (batch, {shape}) in {kind}" + (", from 0 to 255" if form.images else "")
        console.out(f"{path}: {said}", highlight=False)
    note(console, files=[str(path) for path in written])


def _name(device: str) -> str:
    on = torch.device(device)
    return torch.cuda.get_device_name(on) if on.type == "cuda" else str(on)


def main(program: str = "sweep.trial") -> None:
    """The command line."""
    command(app, program)


if __name__ == "__main__":
    main()
