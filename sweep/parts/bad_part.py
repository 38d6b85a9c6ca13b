"""The error of a part that gives what no trial can use."""

from typing import Any, Protocol

from sweep.errors import BadInput


class Called(Protocol):
    """A part, as far as a call of it needs; `sweep.parts.Part` has it all."""

    @property
    def kind(self) -> str:
        """What it is."""
        ...

    @property
    def name(self) -> str:
        """Its name in a config."""
        ...

    @property
    def short(self) -> str:
        """The name of the object."""
        ...

    @property
    def at(self) -> str:
        """File and line of its definition."""
        ...

    def load(self) -> Any:
        """The object itself."""
        ...


class BadPart(BadInput):
    """A part gives or does what no trial can use. The message names the part's file and line.

    Attributes:
        name: of the part in a config.
        problem: what it does, and what is expected.
    """

    def __init__(self, part: Called, problem: str) -> None:
        super().__init__(f"{part.at}: {part.short}: {problem}")
        self.name, self.problem = part.name, problem
