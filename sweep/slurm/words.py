"""The words of a command line, as they travel from a launch to a job and from there to the launch inside."""

from collections.abc import Sequence


def without(words: Sequence[str], *options: str, flags: Sequence[str] = ()) -> list[str]:
    """The words without some options and their values, and without some flags."""
    kept, skip = [], False
    for word in words:
        if skip:
            skip = False
        elif word in options:
            skip = True
        elif word not in flags and word.partition("=")[0] not in options:
            kept.append(word)
    return kept


def value(words: Sequence[str], option: str) -> str | None:
    """The value of an option; None: it is not given."""
    for word, following in zip(words, [*words[1:], ""], strict=True):
        if word == option:
            return following
        if word.startswith(f"{option}="):
            return word.partition("=")[2]
    return None
