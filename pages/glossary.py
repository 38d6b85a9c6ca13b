"""The page of the words that answers use."""

from analysis.glossary import WORDS
from pages.markdown import page

_INTRODUCTION = (
    "These are the words of tables, sentences and the report. `python -m analysis words` prints them, "
    "`python -m analysis words certainly` one of them."
)


def glossary() -> str:
    """The page."""
    parts = [_INTRODUCTION]
    for group, words in WORDS.items():
        parts.append(f"## {group}")
        parts += [f"### {word}\n\n{meaning}" for word, meaning in words.items()]
    return page("Glossary", *parts)
