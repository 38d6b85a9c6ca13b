"""A report holds if no finding fails, and shows text of others as text."""

import io

from rich.console import Console

from sweep.check import Finding, Grid, Report


def shown(report):
    console = Console(file=io.StringIO(), width=100)
    report.show(console)
    return console.file.getvalue()


def test_facts_do_not_fail_a_report():
    report = Report("a part")
    report.tell("a fact", None, "3")
    report.tell("a check", True)
    assert report.holds and report.failed == []
    report.tell("another", False, "expected 4")
    assert not report.holds and report.failed == [Finding("another", False, "expected 4")]
    assert "NO" in shown(report) and "expected 4" in shown(report)


def test_nothing_in_a_text_is_markup_or_moves_the_cursor():
    report = Report(
        "[bold]part[/bold]", [Finding("[red]x", None, "\x1b[2J")], [Grid(("a", "b"), (("[i]", "\x07"),))]
    )
    text = shown(report)
    assert "[bold]part[/bold]" in text and "[red]x" in text and "[i]" in text
    assert "\x1b" not in text and "\\x1b[2J" in text and "\\x07" in text
