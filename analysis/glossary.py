"""The words that answers, tables and the report use, each in a few sentences that need no other source.

`python -m analysis words` prints them, the report ends with them, and `python -m pages` makes their page.
"""

from analysis.tables import fold
from sweep.errors import BadInput

WORDS: dict[str, dict[str, str]] = {
    "Pruning": {
        "criterion": (
            "A function that gives each weight a score. The weights of lowest score are removed. `snip` and "
            "`magnitude` are criteria."
        ),
        "saliency": (
            "Another word for the score of a weight: how much the criterion thinks the network needs it."
        ),
        "rule": (
            "A way to choose masks that is more than one score at one moment. `imp` trains, prunes and "
            "rewinds again and again. `rigl` changes the mask while the network trains."
        ),
        "mask": (
            "Zeros and ones for the weights of a layer. A weight with a zero is pruned: it is 0 and stays 0."
        ),
        "prunable weight": (
            "A weight that a mask may remove: the matrices and filters of layers, not their biases and not "
            "the scales and shifts of normalization."
        ),
        "sparsity": "The share of prunable weights that is removed. 0.9 removes nine of ten.",
        "density": "The share of prunable weights that is kept: 1 − sparsity.",
        "effective density": (
            "The share of prunable weights that are kept and lie on a path of kept weights from an input to "
            "an output. The other kept weights change no output."
        ),
        "scope": (
            "How the kept weights are spread over the layers. `global` ranks all weights of the network "
            "together; `uniform` gives each layer the same density; `erk` gives small layers more."
        ),
        "structure": "What is removed as a whole: single weights, or filters, channels, blocks.",
        "prune epoch": (
            "The number of epochs that the network trains before it is pruned. 0 prunes at initialization."
        ),
        "rewind": "To set the weights back, after the prune, to what they were at an earlier epoch.",
        "retrain": "To train the network on after its prune.",
        "layer collapse": "A layer keeps no weight at all, so that nothing passes through it.",
        "safe": (
            "A prune epoch is safe if no trial that pruned then, or later, has a collapsed layer or a "
            "network without any path from input to output. `safe_from` is the earliest such epoch that was "
            "tested."
        ),
        "anomaly": (
            "A mask that ends better after retraining than the mask that looked best before it. The column "
            "`anomalies` is their share: 0 means that the look before retraining chose right."
        ),
        "regret": (
            "How much worse the mask that looked best before retraining ends than the best mask, in the "
            "unit of the metric. 0 is no regret."
        ),
        "twin": "A second retraining of the same pruned network with the data in another order.",
    },
    "Studies": {
        "study": "A YAML file that says which trials to run. Its results are a folder.",
        "trial": "One training of one network, with one criterion, one sparsity and one seed.",
        "field": "A setting of a trial, such as `lr` or `sparsity`. Several values of a field are an axis.",
        "trial id": (
            "A name that follows from all fields of a trial. Equal trials have equal ids, so that none is "
            "run twice."
        ),
        "arm": (
            "All trials that differ in nothing but their seed and their sparsity: one curve in a chart. "
            "Trials of different arms are never averaged."
        ),
        "setting": (
            "What arms have in common that can be compared: data, network and training. Arms of one setting "
            "differ in how the mask is chosen."
        ),
        "cell": "The trials of one arm at one sparsity: one seed each.",
        "block": (
            "Fields in a study file that belong together, so that an axis belongs to some criteria only."
        ),
        "launch": "One run of the command that runs a study. A launch runs what has no result yet.",
        "pack": "Trials that one worker runs one after another, because they share data or training.",
        "taken over": "A result that another study has already, which is copied and not run again.",
        "provisional": "Said of an answer while trials of the study are still without a result.",
        "lost": (
            "A trial without an accuracy: it failed, or its loss grew beyond all bounds. It is in no mean, "
            "and is counted beside it."
        ),
        "diverged": (
            "The training loss was no longer a finite number, or ten times that of the first batch."
        ),
        "headline": "The metric in the columns of accuracy: accuracy of classes, r2 of numbers, and so on.",
    },
    "Answers": {
        "95 % interval": (
            "If the study were repeated with new seeds again and again, 19 of 20 such intervals would hold "
            "the true mean. The interval is Student's t over seeds unless the answer says otherwise."
        ),
        "certainly": (
            "The difference is significant at 5 % after Holm's correction over all tests of the answer. "
            "With no true difference anywhere, at most one answer in twenty says certainly by chance."
        ),
        "undecided": (
            "The seeds so far do not say which is better, or where that changes. The sentence says which "
            "sparsity needs more seeds. Undecided is not the same as equal."
        ),
        "crossover": (
            "Between two tested sparsities the better of two criteria becomes the worse one, certainly on "
            "both sides."
        ),
        "no crossover": "One criterion is certainly better at every sparsity that was tested.",
        "bracket": "The two tested sparsities that a crossover certainly lies between.",
        "tied": "Not certainly worse than the best. A tied schedule may still be worse.",
        "behind": (
            "How far the validation accuracy of a schedule lies below that of the best, paired by seed."
        ),
        "paired": (
            "Differences are taken seed by seed, so that what both trials of a seed share cancels out."
        ),
        "deviation": (
            "The standard deviation over seeds: how far single runs lie from the mean. It is no interval."
        ),
        "apart": (
            "Runs that lie far from the median of their cell, such as one seed that collapsed. The mean is "
            "then of two kinds of runs, and the median says more."
        ),
        "baseline": "What the others are compared with: random pruning unless you say otherwise.",
        "Holm's correction": (
            "With many tests one is significant by chance. The correction asks more of each test, so that "
            "all claims of the answer together hold at 5 %."
        ),
        "Kendall's τ": (
            "How well one number orders the masks as another does: 1 the same order, −1 the reverse, 0 no "
            "relation."
        ),
        "Pareto front": "The schedules that no other beats in both numbers, such as accuracy and density.",
        "selected": "An accuracy of the runs by which a schedule was chosen. It is likely to be too high.",
        "IQM": (
            "Interquartile mean: the mean of the middle half of all runs, which a few extreme runs do not "
            "move."
        ),
    },
}


def text(word: str = "") -> str:
    """The words with what they mean, for a terminal: one, or all in their groups.

    Raises:
        BadInput: there is no such word.
    """
    groups = {"": find(word)} if word else WORDS
    if not any(groups.values()):
        raise BadInput(f"{word}: not in the glossary: python -m analysis words lists its words")
    parts = []
    for group, meanings in groups.items():
        parts += [f"\n{group}\n"] if group else []
        parts += [fold(f"{name}: {said}") for name, said in meanings.items()]
    return "\n".join(parts)


def find(word: str) -> dict[str, str]:
    """The words that are, or contain, a word or its plural, with what they mean; empty: there is none."""
    wanted = word.lower().removesuffix("s")
    every = {name: said for group in WORDS.values() for name, said in group.items()}
    same = {name: said for name, said in every.items() if name.lower().removesuffix("s") == wanted}
    return same or {name: said for name, said in every.items() if wanted in name.lower()}
