from pathlib import Path

from pruners.__main__ import markdown


def test_the_documented_table_is_the_table_of_criteria():
    text = Path("docs/criteria.md").read_text()
    assert text == markdown(text), "run: python -m pruners docs/criteria.md"
