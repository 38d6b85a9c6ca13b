"""`python -m analysis`: SQL, tables and a report over the results."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from analysis import warehouse
from analysis.crossover import MARGIN, Comparison, compare
from sweep.errors import BadInput, command

app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
Results = Annotated[Path, typer.Option("--results", help="folder of all results, or of one study")]


@app.command()
def sql(query: str, results: Results = Path("results")) -> None:
    """Answer a query over the views trials, curves and layers."""
    console = Console()
    warehouse.show(warehouse.open(results), query, console.width if console.is_terminal else 100_000)


@app.command()
def crossover(results: Results = Path("results")) -> None:
    """Where does random pruning overtake SNIP?"""
    for comparison in _comparisons(results):
        table = _table(comparison)
        # Wide enough for every number: a terminal that is narrower wraps, it does not cut.
        console = Console(width=1000)
        console.width = max(Console().width, console.measure(table).maximum)
        console.out(comparison.setting)
        console.print(table)
        for found in comparison.crossovers:
            console.out(f"  {found}", highlight=False)
        console.out()
    print(
        "Mean test accuracy in percent ± 95 % Student-t interval over seeds. SNIP is below a baseline where\n"
        f"its mean is more than {MARGIN:g} lower, interpolated on log density; differences paired by seed."
    )


@app.command()
def report(
    results: Results = Path("results"),
    output: Annotated[Path | None, typer.Option(help="default: report.html in the results folder")] = None,
) -> None:
    """Write one HTML file, complete in itself, with the crossover chart."""
    from analysis.report import write

    target = output or results / "report.html"
    try:
        write(_comparisons(results), target)
    except OSError as error:
        raise BadInput(f"{target}: {error.strerror}: choose another --output") from None
    print(f"report: {target}")


def _comparisons(results: Path) -> list[Comparison]:
    found = compare(warehouse.open(results))
    if not found:
        raise BadInput(f"{results}: no finished trials yet; see python -m sweep.launch")
    return found


def _table(comparison: Comparison) -> Table:
    table = Table(box=None, padding=(0, 1, 0, 0))
    table.add_column("sparsity", no_wrap=True)
    for sparsity in comparison.sparsities:
        table.add_column(f"{sparsity:g}", justify="right", no_wrap=True)
    for name, means in comparison.means.items():
        table.add_row(
            name,
            *(means[sparsity].percent if sparsity in means else "" for sparsity in comparison.sparsities),
        )
    return table


if __name__ == "__main__":
    command(app, "analysis")
