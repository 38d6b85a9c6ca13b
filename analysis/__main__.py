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
    answer = warehouse.ask(warehouse.open(results), query)
    if answer is not None:
        console = Console()
        answer.show(max_rows=1000, max_width=console.width if console.is_terminal else 100_000)


@app.command()
def crossover(results: Results = Path("results")) -> None:
    """Where does random pruning overtake SNIP?"""
    console = Console(width=None if Console().is_terminal else 140)
    for comparison in _comparisons(results):
        console.print(_table(comparison))
        for found in comparison.crossovers:
            console.print(f"  {found}", highlight=False)
        console.print()
    console.print(
        "Mean test accuracy ± 95 % Student-t interval over seeds. SNIP is below a baseline where its mean\n"
        f"is more than {MARGIN:g} lower, interpolated on log density; the differences are paired by seed.",
        highlight=False,
    )


@app.command()
def report(
    results: Results = Path("results"),
    output: Annotated[Path | None, typer.Option(help="default: report.html in the results folder")] = None,
) -> None:
    """Write one HTML file, complete in itself, with the crossover chart."""
    from analysis.report import write

    target = output or results / "report.html"
    write(_comparisons(results), target)
    print(f"report: {target}")


def _comparisons(results: Path) -> list[Comparison]:
    found = compare(warehouse.open(results))
    if not found:
        raise BadInput(f"{results}: no finished trials yet; see python -m sweep.launch")
    return found


def _table(comparison: Comparison) -> Table:
    table = Table(title=comparison.setting, title_justify="left", box=None, padding=(0, 1))
    table.add_column("sparsity")
    for sparsity in comparison.sparsities:
        table.add_column(f"{sparsity:g}", justify="right", no_wrap=True)
    for name, means in comparison.means.items():
        table.add_row(name, *(str(means.get(sparsity, "")) for sparsity in comparison.sparsities))
    return table


if __name__ == "__main__":
    command(app, "analysis")
