"""One HTML file with all answers, which opens offline."""

import json
import secrets
from collections.abc import Collection
from importlib import resources
from string import Template

import duckdb
import plotly.offline

from analysis.glossary import WORDS
from analysis.page import Page
from analysis.questions import catalog
from analysis.report import search, trials
from analysis.warehouse import Headline, Places, files, headline, narrowed_studies, provisional, rows
from sweep.errors import BadInput
from sweep.foreign import html
from sweep.store.places import small


def render(connection: duckdb.DuckDBPyConnection, results: Places) -> str:
    """The page, as HTML that loads nothing.

    Args:
        connection: from `analysis.open`, perhaps narrowed.
        results: the places of the results, for study files and provenance.
    """
    mixed = []
    try:
        page = Page(headline(connection))
    except BadInput as several:
        # Questions about one metric have no answer then.
        page, mixed = Page(Headline("headline metric", curves="headline metric")), [str(several)]
    answers = [
        (question.section, question.section.find(connection))
        for question in catalog.QUESTIONS
        if question.section is not None and not (mixed and question.about_accuracy)
    ]
    page.sentences([*provisional(connection), *mixed])
    page.heading("Summary")
    summaries = [(section.summary, answer) for section, answer in answers if section.summary is not None]
    for summary, answer in sorted(summaries, key=lambda pair: pair[0].place):
        page.details(page.headline.named(summary.title), summary.sentences(answer))
    studies = narrowed_studies(connection)
    search.show(page, results, studies)
    for section, answer in sorted(answers, key=lambda pair: pair[0].place):
        if section.show is not None:
            section.show(page, answer)
    trials.show(page, connection)
    page.heading("What the words mean")
    page.words({name: said for group in WORDS.values() for name, said in group.items()})
    _provenance(page, results, studies)
    return Template(
        (resources.files("analysis") / "report" / "page.html").read_text(encoding="utf-8")
    ).substitute(
        plotly=plotly.offline.get_plotlyjs(),
        # The page's policy runs only scripts with this word and loads nothing, whatever text results contain.
        nonce=secrets.token_urlsafe(16),
        title=html(_title(connection)),
        body="\n".join(page.parts),
    )


def _title(connection: duckdb.DuckDBPyConnection) -> str:
    names = [row[0] for row in rows(connection, "SELECT DISTINCT study FROM trials ORDER BY 1")]
    return ", ".join(map(str, names[:5])) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


def _provenance(page: Page, results: Places, studies: Collection[str] | None) -> None:
    page.heading("Study files and provenance")
    for path in files(results, "study.json"):
        try:
            known = json.loads(small(path) or "")
            spec, launches = str(known["spec"]), json.dumps(known["launches"], indent=1)
        except (OSError, ValueError, LookupError, TypeError, RecursionError):
            page.parts.append(f"<p>{html(str(path))}: damaged</p>")
            continue
        name = str(known.get("study", path.parent.name))
        if studies is not None and name not in studies:
            continue
        page.subheading(name)
        page.parts.append(f"<pre>{html(spec)}</pre>")
        page.parts.append(
            f"<details><summary>Launches: commands, versions, hardware</summary>"
            f"<pre>{html(launches)}</pre></details>"
        )
