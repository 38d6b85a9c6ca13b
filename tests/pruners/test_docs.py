from pathlib import Path

from pruners.saliency import CRITERIA


def test_the_documented_table_is_the_table_of_criteria():
    documented = Path("docs/criteria.md").read_text()
    for criterion in CRITERIA.values():
        equation = criterion.equation.replace("|", "\\|")
        needs = "yes" if criterion.needs_data else "no"
        row = f"| `{criterion.name}` | {equation} | {needs} | {criterion.iterations} | {criterion.source} |"
        assert row in documented, row
