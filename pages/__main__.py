"""`python -m pages`: write the pages of docs/ that are made; with `--check`, say which are not up to date."""

import sys
from collections.abc import Callable
from pathlib import Path

from pages.analyses import analyses
from pages.columns import columns
from pages.commands import commands
from pages.fields import fields
from pages.glossary import glossary
from pages.papers import papers
from pages.parts import parts

DOCS = Path(__file__).parents[1] / "docs"
PAGES: dict[str, Callable[[], str]] = {
    "glossary.md": glossary,
    "papers.md": papers,
    "reference/fields.md": fields,
    "reference/columns.md": columns,
    "reference/commands.md": commands,
    "reference/parts.md": parts,
    "reference/analyses.md": analyses,
}


def stale() -> list[str]:
    """The pages whose text is not what the code makes today."""
    return [
        name
        for name, make in PAGES.items()
        if not (DOCS / name).exists() or (DOCS / name).read_text("utf-8") != make()
    ]


def main() -> int:
    """Write or check all pages."""
    old = stale()
    if sys.argv[1:] == ["--check"]:
        print(
            *(f"docs/{name}: not up to date: python -m pages" for name in old),
            sep="\n",
            end="\n" if old else "",
        )
        return bool(old)
    for name in old:
        (DOCS / name).parent.mkdir(exist_ok=True)
        (DOCS / name).write_text(PAGES[name](), "utf-8")
        print(f"docs/{name}: written")
    return 0


if __name__ == "__main__":
    sys.exit(main())
