"""Domains of a data set: parts of its training inputs that have names, such as the books of a text."""

from collections.abc import Callable, Mapping
from difflib import get_close_matches

from sweep import parts
from sweep.data import texts
from sweep.errors import BadInput
from sweep.parts import Arguments

# Data set → makes of the parameters of a trial: name of each domain → its training inputs, by their places.
DOMAINS: Mapping[str, Callable[..., Mapping[str, range]]] = {"text:kjv": texts.books}
ALL = "all"  # inputs of every domain


def find(name: str, dataset: str, arguments: Arguments = ()) -> range:
    """The places of a domain's inputs among the training inputs of its data set.

    Args:
        arguments: parameters of the data set's function.

    Raises:
        BadInput: there is no such domain.
    """
    if dataset not in DOMAINS:
        known = ", ".join(DOMAINS)
        raise BadInput(f"score_domain {name}: {dataset} has no domains, as {known} has: leave it out")
    domains: Mapping[str, range] = parts.bind(DOMAINS[dataset], arguments)()
    if name not in domains:
        near = get_close_matches(name, domains, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]}?" if near else f"known: {ALL}, {', '.join(domains)}"
        raise BadInput(f"score_domain {name}: {dataset} has no such domain to train on; {hint}")
    return domains[name]
