"""Which fields of the batches that score do not go with a data set."""

from collections.abc import Iterator

from sweep.config import Config
from sweep.data import LANGUAGE, Form, domains
from sweep.errors import BadInput

# A field to correct, and the message that says why.
_Problem = tuple[str, str]


def of_domain(config: Config) -> Iterator[_Problem]:
    """A domain that the data set does not have."""
    if config.score_domain == domains.ALL:
        return
    try:
        domains.find(config.score_domain, config.dataset, config.arguments("dataset"))
    except BadInput as error:
        yield "score_domain", str(error)


def of_task(config: Config, task: str) -> Iterator[_Problem]:
    """A length of windows where inputs are no windows."""
    if config.score_length is not None and task != LANGUAGE:
        yield "score_length", f"score_length is for text and {config.dataset} is {task}: leave it out"


def of_form(config: Config, form: Form) -> Iterator[_Problem]:
    """Longer windows than the data set has."""
    if config.score_length and form.task == LANGUAGE and config.score_length > form.shape[0]:
        yield (
            "score_length",
            f"score_length {config.score_length}: a window of {config.dataset} has {form.shape[0]} tokens: "
            "give at most so many",
        )
