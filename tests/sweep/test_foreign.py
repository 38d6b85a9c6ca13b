import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sweep import foreign


@given(st.text())
def test_nothing_that_moves_a_terminal_reaches_it(text):
    shown = foreign.terminal(text)
    assert all(letter in "\n\t" or not (ord(letter) < 0x20 or 0x7F <= ord(letter) < 0xA0) for letter in shown)
    assert foreign.terminal(shown) == shown


def test_what_is_harmless_stays_as_it_is():
    assert foreign.terminal("±0.1 τ “é”\n\tx") == "±0.1 τ “é”\n\tx"
    assert foreign.terminal("\x1b]52;c;x\x07 \u202eevil") == "\\x1b]52;c;x\\x07 \\u202eevil"


@given(st.text())
def test_latex_has_one_line_and_no_command_of_others(text):
    shown = foreign.latex(text)
    assert "\n" not in shown and "\r" not in shown
    ours = (
        "textbackslash{}",
        "textasciicircum{}",
        "textasciitilde{}",
        "textless{}",
        "textgreater{}",
        "textbar{}",
        "textquotedbl{}",
    )
    for after in shown.split("\\")[1:]:
        assert not after or after.startswith((*ours, *"_%&#${}xu")), shown


def test_latex_of_an_attack_is_its_letters():
    assert foreign.latex("a\\input{/etc/passwd}\n50%") == "a\\textbackslash{}input\\{/etc/passwd\\} 50\\%"


def test_a_plain_stream_leaves_all_else_to_the_stream():
    raw = io.StringIO()
    stream = foreign.Plain(raw)
    print("a\x1b[2J", file=stream)
    assert raw.getvalue() == "a\\x1b[2J\n" and stream.raw is raw and not stream.isatty()


@pytest.mark.parametrize("text", ["</script><script>x</script>", '" onload="x', "&lt;"])
def test_html_and_charts_take_no_tags(text):
    assert "<" not in foreign.html(text) and '"' not in foreign.html(text) and "<" not in foreign.chart(text)
