"""docs/reference: it is what the code says today, and everything in the code says what it is."""

import re

import pytest

from pages.__main__ import DOCS, PAGES, stale
from pages.commands import found, without_help, words
from sweep.config import FIELDS, about
from sweep.shell.commands import COMMANDS
from sweep.store.schema import SCHEMAS, STORED
from sweep.store.tables import MARKS, TABLES


@pytest.mark.slow
def test_the_made_pages_are_up_to_date():
    assert not stale(), "run: python -m pages"


def test_every_field_says_what_it_means():
    assert not [name for name in FIELDS if not about(name).help]
    text = (DOCS / "reference/fields.md").read_text("utf-8")
    assert sorted(re.findall(r"^\| `(\w+)` ", text, re.MULTILINE)) == sorted(FIELDS)


def test_every_column_says_what_it_means_and_is_stored_as_its_table_says():
    tables = {**TABLES, "marks": MARKS}
    assert not [
        f"{table}.{name}" for table in tables for name, one in tables[table].items() if not one.meaning
    ]
    assert not [name for table in TABLES.values() for name, one in table.items() if one.meaning[-1] == "."]
    assert {name: [*schema.names] for name, schema in STORED.items()} == {n: [*t] for n, t in tables.items()}
    assert SCHEMAS["trials"].field("kept").type == TABLES["trials"]["kept"].type


def test_numbers_of_columns_have_a_unit_unless_they_count_or_compare():
    """What is in epochs, steps, seconds or weights says so."""
    units = {name: one.unit for table in TABLES.values() for name, one in table.items()}
    assert all(units[name] == "seconds" for name in units if name.endswith("seconds"))
    assert all(units[name] == "steps" for name in ("steps", "spent_steps", "trained_steps"))
    assert all(units[name] == "UTC" for name in units if name.endswith("_at") and name != "launched_at")


def test_every_command_option_and_argument_says_what_it_means():
    assert not without_help()


@pytest.mark.parametrize("name", COMMANDS)
def test_the_page_has_every_command_with_its_options(name):
    text = (DOCS / "reference/commands.md").read_text("utf-8")
    for command, _, function in found(name):
        section = text.partition(f"## {command if ' ' in command else command.capitalize()}\n")[2]
        section = section.partition("\n## ")[0].partition("\n### ")[0]
        assert section
        assert not [word for word in words(function) if f"`{word.names[0]}`" not in section]


def test_every_page_says_that_it_is_made():
    assert all("python -m pages" in (DOCS / name).read_text("utf-8").splitlines()[2] for name in PAGES)
