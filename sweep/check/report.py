"""The report of a check: findings, which hold or do not, and tables."""

from dataclasses import dataclass, field

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from sweep.foreign import terminal
from sweep.reporter import conclude, note

_MARKS = {True: ("yes", "green"), False: ("NO", "bold red"), None: ("", "")}


@dataclass(frozen=True)
class Finding:
    """One line of a report.

    Attributes:
        name: what was tried.
        holds: whether it holds; None: a fact that is neither right nor wrong.
        text: what was measured, or what is wrong and what is expected.
    """

    name: str
    holds: bool | None
    text: str = ""


@dataclass(frozen=True)
class Grid:
    """A table: a name for each column, and rows of text; all columns but the first are set to the right."""

    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    right: bool = True


@dataclass
class Report:
    """What a check found, in the order in which it was tried."""

    title: str
    findings: list[Finding] = field(default_factory=list)
    grids: list[Grid] = field(default_factory=list)

    def tell(self, name: str, holds: bool | None, text: str = "") -> None:
        """Add a finding."""
        self.findings.append(Finding(name, holds, text))

    @property
    def holds(self) -> bool:
        """Whether nothing that was tried fails."""
        return all(finding.holds is not False for finding in self.findings)

    @property
    def failed(self) -> list[Finding]:
        """The findings that do not hold."""
        return [finding for finding in self.findings if finding.holds is False]

    def end(self, console: Console) -> int:
        """Print the report, of a quiet command what does not hold; returns the exit code."""
        facts = [{"name": each.name, "holds": each.holds, "text": each.text} for each in self.findings]
        tables = [{"head": grid.head, "rows": grid.rows} for grid in self.grids]
        note(console, part=self.title, holds=self.holds, findings=facts, tables=tables)
        self.show(console)
        for finding in self.failed if console.quiet else ():
            conclude(console, terminal(f"{finding.name}: {finding.text}"))
        return 0 if self.holds else 1

    def show(self, console: Console) -> None:
        """Print the report."""
        table = Table("check", "holds", "", box=box.SIMPLE, title=_text(self.title), title_justify="left")
        for finding in self.findings:
            mark, style = _MARKS[finding.holds]
            table.add_row(_text(finding.name), Text(mark, style), _text(finding.text))
        console.print(table)
        for grid in self.grids:
            table = Table(box=box.SIMPLE)
            for number, name in enumerate(grid.head):
                table.add_column(_text(name), justify="right" if number and grid.right else "left")
            for row in grid.rows:
                table.add_row(*map(_text, row))
            console.print(table)


def _text(text: str) -> Text:
    """Text of others, in which nothing is markup."""
    return Text(terminal(text))
