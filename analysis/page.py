"""A page in the making: headings, lists, tables and charts, as HTML that loads nothing."""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from analysis.charts import Figure
from analysis.warehouse import ACCURACIES, Headline
from sweep.foreign import chart, html

# The most settings in a section of the page.
SETTINGS = 12
# The most sentences in a list.
_SENTENCES = 100
# Parts of a chart whose markup is ours, not from results.
_MARKED = ("hovertemplate", "colorbar")


class Page:
    """A page in the making.

    Attributes:
        headline: the metric in the accuracy columns of the answers.
        parts: pieces of HTML.
    """

    def __init__(self, headline: Headline = ACCURACIES) -> None:
        self.headline = headline
        self.parts: list[str] = []
        self._charts = 0

    def heading(self, text: str, note: str = "") -> None:
        """Begin a section, perhaps with a note on how to read it."""
        self.parts.append(f"<h2>{html(text)}</h2>" + (f"<p>{html(note)}</p>" if note else ""))

    def subheading(self, text: str) -> None:
        """Begin a part of a section."""
        self.parts.append(f"<h3>{html(text)}</h3>")

    def sentences(self, texts: Any) -> None:
        """Add a list of sentences, if there are any."""
        if items := _items(list(texts)):
            self.parts.append(f"<ul>{items}</ul>")

    def details(self, title: str, texts: Sequence[str]) -> None:
        """Add a list of sentences that can be folded away, if there are any; without a title a plain list."""
        if not title:
            self.sentences(texts)
        elif texts:
            self.parts.append(
                f"<details open><summary>{html(title)}</summary><ul>{_items(texts)}</ul></details>"
            )

    def words(self, meanings: Mapping[str, str]) -> None:
        """Add words with what they mean, folded away."""
        items = "".join(f"<dt>{html(word)}</dt><dd>{html(said)}</dd>" for word, said in meanings.items())
        self.parts.append(f"<details><summary>Glossary</summary><dl>{items}</dl></details>")

    def settings(self, names: Sequence[str]) -> Iterator[str]:
        """The settings that a section shows, each with its subheading; says how many more there are."""
        if len(names) > SETTINGS:
            self.parts.append(
                f"<p>{len(names) - SETTINGS} more settings: narrow the report with --study or --where.</p>"
            )
        for name in names[:SETTINGS]:
            self.subheading(name)
            yield name

    def chart(self, name: str, *figures: Figure, choices: Sequence[str] = (), height: int = 460) -> None:
        """Add a chart; with choices, a menu of several figures, of which the last is shown first."""
        self._charts += 1
        number = self._charts
        shapes = [plain(figure) for figure in figures]
        for shape in shapes:
            shape["layout"].pop("template", None)
            shape["layout"]["height"] = height
        if choices:
            options = "".join(
                f"<option{' selected' if i == len(choices) - 1 else ''}>{html(choice)}</option>"
                for i, choice in enumerate(choices)
            )
            self.parts.append(f'<label>Show <select data-for="chart-{number}">{options}</select></label>')
        self.parts.append(
            f'<figure><div class="chart" id="chart-{number}" style="height:{height}px" '
            f'role="img" tabindex="0" aria-label="{html(name)}"></div></figure>'
            f'<script type="application/json" data-chart="chart-{number}">{embedded(shapes)}</script>'
        )

    def table(self, head: Sequence[str], body: Sequence[Sequence[object]]) -> None:
        """Add a table. The first cell of each line is its head."""
        columns = "".join(f"<th scope=col>{html(name)}</th>" for name in head)
        lines = "".join(
            f"<tr><th scope=row>{html(str(line[0]))}</th>"
            + "".join(f"<td>{html(str(cell))}</td>" for cell in line[1:])
            + "</tr>"
            for line in body
        )
        self.parts.append(
            f'<div class="scroll" tabindex="0"><table><thead><tr>{columns}</tr></thead>'
            f"<tbody>{lines}</tbody></table></div>"
        )


def plain(figure: Figure) -> Any:
    """A figure as JSON has it, with its markup escaped; our own templates keep theirs."""
    return _plain(json.loads(figure.to_json()))


def _plain(shape: Any) -> Any:
    if isinstance(shape, dict):
        return {name: _plain(value) for name, value in shape.items() if name not in _MARKED} | {
            name: value for name, value in shape.items() if name in _MARKED
        }
    if isinstance(shape, list):
        return [_plain(value) for value in shape]
    return chart(shape) if isinstance(shape, str) else shape


def embedded(value: object) -> str:
    """JSON for a script element, with null for NaN and infinities, which a browser cannot parse."""
    return json.dumps(_known(value), default=str, allow_nan=False).replace("<", "\\u003c")


def _known(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _known(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_known(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _items(texts: Sequence[str]) -> str:
    more = [f"and {len(texts) - _SENTENCES:,} more: narrow the report with --study or --where"]
    shown = [*texts[:_SENTENCES], *(more if len(texts) > _SENTENCES else ())]
    return "".join(f"<li>{html(text)}</li>" for text in shown)
