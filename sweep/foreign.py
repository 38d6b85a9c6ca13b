"""Text that others wrote (labels, names, errors), made safe for where it is shown: one function a place."""

import html as _html
from typing import Any, TextIO

# Controls that move the cursor, set the clipboard or clear the screen; marks that turn the reading around.
_CONTROLS = {
    **{code: f"\\x{code:02x}" for code in (*range(0x20), *range(0x7F, 0xA0)) if chr(code) not in "\n\t"},
    **{code: f"\\u{code:04x}" for code in (*range(0x202A, 0x202F), *range(0x2066, 0x206A), 0x200E, 0x200F)},
}
_LATEX = {
    **{letter: f"\\{letter}" for letter in "_%&#${}"},
    "\\": r"\textbackslash{}",
    "^": r"\textasciicircum{}",
    "~": r"\textasciitilde{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\textquotedbl{}",
}


def terminal(text: str) -> str:
    """Text for a terminal: controls are shown as escapes (`\\x1b`), line feeds and tabs stay."""
    return text.translate(_CONTROLS)


def html(text: str) -> str:
    """Text within an HTML page, in an element or between double quotes."""
    return _html.escape(text, quote=True)


def chart(text: str) -> str:
    """Text within a chart: Plotly takes tags in any label for markup, links and images among them."""
    return _html.escape(text, quote=False)


def latex(text: str) -> str:
    """Text within LaTeX, on one line."""
    return "".join(_LATEX.get(letter, letter) for letter in " ".join(text.split())).translate(_CONTROLS)


class Plain:
    """A stream whose text reaches a terminal as `terminal` makes it.

    Attributes:
        raw: the stream itself, for what is data and not for reading.
    """

    def __init__(self, raw: TextIO) -> None:
        self.raw = raw

    def write(self, text: str) -> int:
        """Write text."""
        return self.raw.write(terminal(text))

    def __getattr__(self, name: str) -> Any:
        return getattr(self.raw, name)
