"""Exports: all trials as a tidy table, accuracies as LaTeX tables, the crossover chart as a picture."""

import asyncio
import logging
import math
from pathlib import Path

import duckdb

from analysis import output
from analysis.questions.crossover import chart, compare
from analysis.questions.verdict import Comparison
from analysis.warehouse import Headline, provisional, rows
from analysis.warehouse.sources import quoted
from sweep import foreign
from sweep.errors import BadInput
from sweep.means import Mean

TABLES = {".csv": output.Format.CSV, ".parquet": output.Format.PARQUET}
_PICTURES = (".png", ".svg", ".pdf")


def write(connection: duckdb.DuckDBPyConnection, target: Path) -> list[Path]:
    """Write the export that the ending of the file's name says.

    `.csv`, `.parquet`: one row for each trial, with every column, and one for each metric and split. `.tex`:
    a `tabular` (booktabs) for each setting. `.png`, `.svg`, `.pdf`: the crossover chart, one file for each
    setting.

    Returns:
        The written files.

    Raises:
        BadInput: another ending; no browser to draw with; a file that cannot be written.
    """
    kind = target.suffix.lower()
    if kind in TABLES:
        output.stream(connection, _every_trial(connection), TABLES[kind], target)
        return [target]
    if kind == ".tex":
        marks = "".join(f"% {foreign.latex(line)}\n" for line in provisional(connection))
        output.save(target, (marks + "\n".join(map(latex, compare(connection)))).encode())
        return [target]
    if kind in _PICTURES:
        return _pictures(compare(connection), target, provisional(connection))
    raise BadInput(f"{target}: export to .csv, .parquet, .tex, .png, .svg or .pdf")


def _every_trial(connection: duckdb.DuckDBPyConnection) -> str:
    """The SQL of all trials, each with its metrics as columns `NAME_validation` and `NAME_test`."""
    names = rows(connection, "SELECT DISTINCT name, split FROM metrics ORDER BY name, split DESC")
    if not names:
        return "FROM trials"
    columns = ", ".join(
        f"max(value) FILTER (name = '{quoted(name)}' AND split = '{split}') "
        f'AS "{name.replace(chr(34), chr(34) * 2)}_{split}"'
        for name, split in names
    )
    return (
        "SELECT trials.*, measured.* EXCLUDE (trial_id) FROM trials LEFT JOIN "
        f"(SELECT trial_id, {columns} FROM metrics GROUP BY trial_id) AS measured USING (trial_id)"
    )


def latex(comparison: Comparison) -> str:
    """Means on test data with their 95 % intervals, accuracies in percent, for the booktabs package."""
    headline = comparison.headline
    sparsities = comparison.sparsities
    lines = [
        f"% {foreign.latex(comparison.setting)}: "
        f"{foreign.latex(f'test {headline.name}')}{' in percent' * headline.is_accuracy}, "
        "mean and 95 % Student-t interval over seeds",
        "% (equal): all seeds ended alike, which is no interval",
        r"\begin{tabular}{l" + "r" * len(sparsities) + "}",
        r"\toprule",
        " & ".join(["sparsity", *(f"{s:g}" for s in sparsities)]) + r" \\",
        r"\midrule",
    ]
    for name, means in comparison.means.items():
        cells = []
        for sparsity in sparsities:
            mean = means.get(sparsity)
            if mean is None:
                cells.append("--")
                continue
            cells.append(_cell(mean, headline) + (f" ({mean.lost} lost)" if mean.lost else ""))
        lines.append(" & ".join([foreign.latex(name), *cells]) + r" \\")
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", ""])


def _cell(mean: Mean, headline: Headline) -> str:
    """A mean with its half width, or with both ends if the interval is cut; accuracies in percent."""
    scale, digits = (100, 1) if headline.is_accuracy else (1, mean.digits)
    if math.isnan(mean.value):
        return "--"
    value, half = (f"{scale * one:.{digits}f}" for one in (mean.value, mean.half_width or 0.0))
    if mean.half_width is None or mean.low is None or mean.high is None:
        return value
    if mean.equal:
        return f"${value}$ (equal)"
    if mean.cut:
        return f"${value}$ $[{scale * mean.low:.{digits}f}, {scale * mean.high:.{digits}f}]$"
    return f"${value} \\pm {half}$"


def _pictures(comparisons: list[Comparison], target: Path, marks: list[str]) -> list[Path]:
    from choreographer.browsers.chromium import ChromeNotFoundError

    try:
        drawn = asyncio.run(_draw(comparisons, target.suffix[1:].lower(), marks))
    except ChromeNotFoundError:
        raise BadInput(f"{target}: Chromium draws pictures: install it (apt-get install chromium)") from None
    written = []
    for index, picture in enumerate(drawn):
        path = target if len(drawn) == 1 else target.with_stem(f"{target.stem}-{index + 1}")
        output.save(path, picture)
        written.append(path)
    return written


async def _draw(comparisons: list[Comparison], kind: str, marks: list[str]) -> list[bytes]:
    import kaleido

    # It logs the exit of the browser.
    logging.getLogger("choreographer").setLevel(logging.CRITICAL)
    names = list(dict.fromkeys(name for comparison in comparisons for name in comparison.means))
    pictures = []
    # Mathjax would be loaded from the network.
    async with kaleido.Kaleido(mathjax=False) as browser:
        for comparison in comparisons:
            figure = chart(comparison, names)
            figure.update_layout(
                template="plotly_white",
                title={"text": "<br>".join([comparison.setting, *marks]), "font": {"size": 14}},
                legend={"orientation": "h", "y": -0.2},
                width=900,
                height=560,
            )
            pictures.append(await browser.calc_fig(figure, opts={"format": kind, "scale": 2}))
    return pictures
