"""A page that a reader can follow: its files and commands, and what the commands print.

`python -m pages.walk docs/first-study.md` runs the commands of the page in an empty folder, and puts what
they print into the page. A block in `console` has commands after `$`, each followed by its output. Any other
block whose first line is a comment with the name of a file, as in `# first.yaml`, is that file.
"""

import os
import re
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_FILE = re.compile(r"# ([\w.-]+\.\w+)\n")
# A line of progress. A launch prints one every few seconds, and one at its end.
_PROGRESS = re.compile(r"\w+: \d+ of \d+ trials, ")
# What differs from machine to machine, or from run to run: times, rates and decimals, and the room they take.
_MEASURED = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d|(?:\d+ (?:h|min|s)\b ?)+|\d+%|\d*\.\d+|─+")

# Words of a command → what it prints.
Run = Callable[[list[str]], str]


def walk(text: str, folder: Path, run: Run) -> Iterator[tuple[str, str, str]]:
    """Follow a page: write its files into a folder, run its commands, and give each with both outputs.

    Args:
        text: of the page.
        run: runs one command in the folder.

    Yields:
        The command, what the page says that it prints, and what it prints.
    """
    for language, block in _BLOCK.findall(text):
        if language != "console":
            if named := _FILE.match(block):
                (folder / named[1]).write_text(block, "utf-8")
            continue
        for said in block.split("$ ")[1:]:
            command, _, expected = said.partition("\n")
            yield command, expected, shortened(run(shlex.split(command)))


def shortened(printed: str) -> str:
    """An output without trailing blanks, of whose lines of progress the last stays."""
    lines = [line.rstrip() for line in printed.strip().splitlines()]
    progress = [number for number, line in enumerate(lines) if _PROGRESS.match(line)]
    kept = [line for number, line in enumerate(lines) if number not in progress[:-1]]
    return "\n".join(kept) + "\n"


def alike(expected: str, printed: str) -> bool:
    """Whether two outputs say the same in each line, apart from numbers and an order that are measured."""
    return _said(expected) == _said(printed)


def _said(text: str) -> list[list[str]]:
    return [sorted(_MEASURED.sub("# ", line).split()) for line in text.splitlines()]


def _as_people_do(folder: Path) -> Run:
    """Runs commands as a terminal of 100 characters would, each in a process of its own."""
    environment = os.environ | {"NO_COLOR": "1", "COLUMNS": "100", "PYTHONPATH": str(Path.cwd())}

    def run(words: list[str]) -> str:
        assert words[0] == "secateur", words
        command = [sys.executable, "-m", "sweep.shell", *words[1:]]
        done = subprocess.run(
            command, cwd=folder, env=environment, capture_output=True, text=True, check=True
        )
        return done.stdout

    return run


def main() -> None:
    """Write the outputs of a page anew."""
    page = Path(sys.argv[1])
    text = page.read_text("utf-8")
    with tempfile.TemporaryDirectory() as folder:
        for command, expected, printed in walk(text, Path(folder), _as_people_do(Path(folder))):
            print(f"$ {command}\n{printed}")
            if not alike(expected, printed):
                text = text.replace(f"$ {command}\n{expected}", f"$ {command}\n{printed}", 1)
    page.write_text(text, "utf-8")


if __name__ == "__main__":
    main()
