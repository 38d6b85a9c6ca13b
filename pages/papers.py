"""The page of the papers that run here, from the studies: each says in `paper:` what it reproduces."""

import re
from collections.abc import Iterator
from math import sqrt
from pathlib import Path

from scipy.stats import t as student

from pages.markdown import page, table
from sweep.study import Study, load
from sweep.study.paper import Paper

STUDIES = Path(__file__).parents[1] / "studies"
# Mean, standard deviation and number of seeds.
_MEAN = re.compile(r"([\d.]+) ± ([\d.]+) of (\d+)")
_INTRODUCTION = (
    "Each study names its paper, and has the numbers of the paper beside ours. *Published* is what the paper "
    "prints. *Ours* is a mean and half of its 95 % Student-t interval over seeds, unless it says otherwise. "
    "A number that differs is no fault of the paper: read what is not reproduced."
)
_ADD = (
    "A study adds itself with the key `paper:` ([how](studies.md#the-paper-of-a-study)). Where *ours* is "
    "empty nobody has run the study for this page yet."
)


def papers() -> str:
    """The page."""
    studies = [load(path) for path in sorted(STUDIES.glob("*.yaml"))]
    titles: dict[str, list[tuple[Study, Paper]]] = {}
    for study in studies:
        if study.paper:
            titles.setdefault(f"{study.paper.by}: {study.paper.title}", []).append((study, study.paper))
    rows = [
        (title, ", ".join(f"[{study.name}](#{study.name})" for study, _ in each), _state(each))
        for title, each in sorted(titles.items())
    ]
    parts = [_INTRODUCTION, table(("paper", "studies", "state"), rows), _ADD]
    for title, each in sorted(titles.items()):
        parts.append(f"## {title}")
        for study, paper in each:
            parts += _section(study, paper)
    parts += ["## Studies of no single paper", _others(studies)]
    return page("Papers that run here", *parts)


def _state(studies: list[tuple[Study, Paper]]) -> str:
    made = sum(bool(paper.made) for _, paper in studies)
    needs = "; needs a GPU" if any("GPU" in paper.needs for _, paper in studies) else ""
    return f"{made} of {len(studies)} run here{needs}"


def _section(study: Study, paper: Paper) -> Iterator[str]:
    yield f"### {study.name}"
    yield paper.claim
    seeds = len({trial.config.seed for trial in study.distinct})
    counts = f"{len(study):,} trials" + (f", {seeds} seeds" if seeds > 1 else ", one seed")
    yield f"`secateur launch {study.name}`: {counts}. [The study](../studies/{study.name}.yaml)."
    if paper.numbers:
        rows = ((one.of, one.published, ours(one.ours)) for one in paper.numbers)
        yield table(("what", "published", "ours"), rows)
    said = [
        ("Made", paper.made),
        ("Not reproduced, or done otherwise", paper.differs),
        ("Takes", paper.needs),
    ]
    listed = [f"- {name}: {text.removesuffix('.')}." for name, text in said if text]
    if listed:
        yield "\n".join(listed)


def ours(text: str) -> str:
    """A number of ours with its interval, from its mean, standard deviation and number of seeds.

    Half of the interval is t(0.975, n − 1) · s / √n.
    """
    found = _MEAN.fullmatch(text)
    if not found:
        return text
    mean, deviation, seeds = found.groups()
    half = student.ppf(0.975, int(seeds) - 1) * float(deviation) / sqrt(int(seeds))
    return f"{mean} ± {half:.{len(mean.partition('.')[2])}f} ({seeds} seeds)"


def _others(studies: list[Study]) -> str:
    rows = []
    for study in studies:
        if not study.paper:
            text = study.path.read_text("utf-8")
            head = " ".join(line.lstrip("# ") for line in text.partition("name:")[0].splitlines())
            rows.append((f"[{study.name}](../studies/{study.name}.yaml)", re.split(r"(?<=[.?]) ", head)[0]))
    return table(("study", "what it asks"), rows)
