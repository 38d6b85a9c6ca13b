"""`python -m pruners`: the table of criteria."""

from rich import box
from rich.console import Console
from rich.table import Table

from pruners.saliency import CRITERIA

table = Table("criterion", "score, higher is kept", "needs", "iterations", "source", box=box.SIMPLE)
for name, criterion in CRITERIA.items():
    needs = "data" if criterion.needs_data else "nothing"
    table.add_row(name, criterion.equation, needs, str(criterion.iterations), criterion.source)
Console().print(table)
