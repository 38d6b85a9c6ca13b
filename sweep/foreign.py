"""Text from outside (labels, names, errors), made safe for the place that shows it: one function a place."""

import html as _html
from typing import Any, TextIO

# Control characters that move the cursor, set the clipboard or clear the screen; and marks that reverse the
# reading direction.
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
    """Text for a terminal: control characters become escapes (`\\x1b`); line feeds and tabs stay."""
    return text.translate(_CONTROLS)


def html(text: str) -> str:
    """Text for an HTML page, in an element or between double quotes."""
    return _html.escape(text, quote=True)


def chart(text: str) -> str:
    """Text for a chart: Plotly reads tags in any label as markup, including links and images."""
    return _html.escape(text, quote=False)


def latex(text: str) -> str:
    """Text for LaTeX, on one line."""
    return "".join(_LATEX.get(letter, letter) for letter in " ".join(text.split())).translate(_CONTROLS)


class Plain:
    """A stream that escapes its text with `terminal`.

    Attributes:
        raw: the stream without escaping, for data.
    """

    def __init__(self, raw: TextIO) -> None:
        self.raw = raw

    def write(self, text: str) -> int:
        """Write the text, escaped."""
        return self.raw.write(terminal(text))

    def __getattr__(self, name: str) -> Any:
        return getattr(self.raw, name)
