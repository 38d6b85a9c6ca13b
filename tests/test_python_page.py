"""docs/python.md: its blocks run one after another, and do what the page says."""

import contextlib
import io
import re
import shutil
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
BLOCKS = re.findall(
    r"^```python\n(.*?)^```$", (ROOT / "docs" / "python.md").read_text("utf-8"), re.DOTALL | re.MULTILINE
)
MINE = "def mine(probe):\n    return {name: weight.abs() for name, weight in probe.weights.items()}\n"


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """What the blocks leave: their names, and what each printed."""
    folder, names, said = tmp_path_factory.mktemp("page"), {}, []
    shutil.copytree(ROOT / "studies", folder / "studies")
    (folder / "mine.py").write_text(MINE)
    with contextlib.chdir(folder):
        for block in BLOCKS:
            with contextlib.redirect_stdout(io.StringIO()) as out:
                exec(block.replace("workers=2", "ray=False"), names)
            said.append(out.getvalue())
    return names, said


@pytest.mark.slow
def test_the_blocks_of_the_page_run(page):
    names, (launched, defined, _, asked, own) = page
    assert "first: 12 trials, 0 with a result, 12 to run" in launched
    assert "12 trials; the first is " in defined and "quickstart: 96 trials" in defined
    assert len(names["frame"]) == 12 and set(names["curves"]["epoch"]) == {2.0} and len(names["means"]) == 4
    assert "snip erk against random erk: " in asked and len(names["rows"]) == 2
    assert names["figure"].data
    assert "own: 1 of 1 trials" in own
