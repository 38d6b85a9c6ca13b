"""The commands behind `secateur`. What they do is in their modules, which take seconds to import."""

from typing import NamedTuple


class Command(NamedTuple):
    """A command.

    Attributes:
        module: has its function `main`, which takes the program's name.
        help: one line.
    """

    module: str
    help: str


COMMANDS = {
    "launch": Command("sweep.launch", "Run the trials of a study that have no result yet."),
    "search": Command("sweep.search.__main__", "Search for the best schedule of a study."),
    "trial": Command("sweep.trial.__main__", "Run one trial again, and write its network."),
    "check": Command("sweep.check.__main__", "Try a part of your own by itself."),
    "analysis": Command("analysis.__main__", "Ask the results: means, crossovers, reports, SQL."),
    "pruners": Command("pruners.__main__", "List the criteria."),
    "studies": Command("sweep.shell.studies", "List the studies that come along, to launch by name."),
}
