"""The words that may follow in a command line, for the shells that Typer knows, without torch and Ray."""

import inspect
import io
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import redirect_stdout
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from sweep import shipped
from sweep.shell import notes

# Bash cuts a word into several at these.
_BREAKS = "=:"


def complete(program: str) -> NoReturn:
    """Answer the shell that asks for words, and leave."""
    noted = notes.read()
    app = _application(noted["commands"], Words(noted["fields"]))
    begun = _join_words()
    said, code = io.StringIO(), 0
    with redirect_stdout(said):
        try:
            app(prog_name=program)
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else 1
    # Of a word that Bash has cut, it takes the last part alone.
    print(*(line.removeprefix(begun) for line in said.getvalue().splitlines()), sep="\n")
    raise SystemExit(code)


class Words:
    """The values that parameters take, each by the beginning of a word."""

    def __init__(self, fields: dict[str, list[str]]) -> None:
        self._fields = fields

    def of(self, parameter: dict[str, Any]) -> Callable[[str], list[str]]:
        """The function that completes a parameter; where it knows nothing, the shell completes files."""
        kinds: dict[str | None, Callable[[str], Iterator[str]]] = {
            "study": self._studies,
            "setting": self._settings,
            "criterion": self._criteria,
            "metric": lambda begun: iter(self._fields["metrics"]),
            "field": lambda begun: iter(self._fields),
            None: lambda begun: iter(parameter["choices"]),
        }
        values = kinds[parameter["kind"]]
        return lambda incomplete: [word for word in values(incomplete) if word.startswith(incomplete)]

    def _studies(self, begun: str) -> Iterator[str]:
        """Studies that come along, study files, and folders that may have some."""
        yield from shipped.studies()
        for path in sorted(
            Path(begun).parent.glob("*") if not begun.endswith("/") else Path(begun).glob("*")
        ):
            if path.is_dir() or path.suffix in (".yaml", ".yml"):
                yield f"{path}/" if path.is_dir() else str(path)

    def _settings(self, begun: str) -> Iterator[str]:
        """`FIELD=` for each field, and the values of a field that is alone: a shell ends a lone word."""
        name, equals, _ = begun.partition("=")
        fields = (
            [name.removesuffix("+")] if equals else [each for each in self._fields if each.startswith(name)]
        )
        if not equals:
            yield from (f"{field}=" for field in fields)
        if len(fields) == 1:
            before = begun[: max(map(begun.rfind, "=,[")) + 1] if equals else f"{fields[0]}="
            yield from (f"{before}{value}" for value in self._fields.get(fields[0], ()))

    def _criteria(self, begun: str) -> Iterator[str]:
        """Criteria, and behind a colon their scopes."""
        name, colon, _ = begun.partition(":")
        yield from (
            (f"{name}:{scope}" for scope in self._fields["scope"]) if colon else self._fields["criterion"]
        )


def _application(commands: dict[str, Any], words: Words) -> typer.Typer:
    """Commands as notes have them, which do nothing."""
    app = typer.Typer(rich_markup_mode=None)
    for name, noted in commands.items():
        if "commands" in noted:
            app.add_typer(_application(noted["commands"], words), name=name, help=noted["help"])
        else:
            app.command(name, help=noted["help"])(_function(noted["parameters"], words))
    return app


def _function(parameters: Sequence[dict[str, Any]], words: Words) -> Callable[..., None]:
    def nothing(**_: Any) -> None:
        pass

    made = [_parameter(noted, words) for noted in parameters]
    nothing.__signature__ = inspect.Signature(made)  # type: ignore[attr-defined]
    return nothing


def _parameter(noted: dict[str, Any], words: Words) -> inspect.Parameter:
    help_, completion = noted["help"], words.of(noted)
    option = typer.Option(*noted["words"], help=help_, autocompletion=completion)
    given = option if noted["words"] else typer.Argument(help=help_, autocompletion=completion)
    kind: Any = bool if noted["flag"] else list[str] | None if noted["many"] else str | None
    default = False if noted["flag"] else None
    keyword = inspect.Parameter.KEYWORD_ONLY
    return inspect.Parameter(noted["name"], keyword, default=default, annotation=Annotated[kind, given])


def _join_words() -> str:
    """Join what Bash has cut at `=` and `:` in the command line that it hands over in the environment.

    Returns:
        The part of the word to complete that Bash does not ask for.
    """
    words, place = os.environ.get("COMP_WORDS", "").split(), int(os.environ.get("COMP_CWORD", 0))
    joined: list[str] = []
    begun, at, behind = "", len(words), False
    for number, word in enumerate(words):
        mark = not word.strip(_BREAKS)
        before = joined.pop() if joined and (mark or behind) else ""
        joined.append(before + word)
        if number == place:
            at, begun = len(joined) - 1, joined[-1] if mark else before
        behind = mark
    os.environ["COMP_WORDS"] = " ".join(joined)
    os.environ["COMP_CWORD"] = str(at if place < len(words) else len(joined))
    return begun
