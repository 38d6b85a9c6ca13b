"""What a study may choose of a rule along training, and what it is told otherwise."""

import pytest

import pruners
from sweep import rules
from sweep.errors import BadInput
from sweep.study.identity import Trial
from tests.sweep.rules.test_rules import config
from tests.sweep.study.test_study import trials

STUDY = "name: s\ndataset: digits\nmodel: lenet-300-100\nepochs: 9\nsparsity: 0.5\nupdate_every: 2\n"


def asked(criterion, **options):
    fields = options.pop("fields", {})
    chosen = tuple(sorted((f"criterion.{name}", value) for name, value in options.items()))
    return config(criterion=criterion, parameters=chosen, **fields)


def test_a_study_chooses_path_drop_and_growth(study_file):
    [one] = trials(STUDY + "criterion: gmp\ncriterion.path: linear\ncriterion.drop: snip\n", study_file)
    chosen = rules.find("gmp").choices(one.config)
    assert (chosen.path, chosen.drop, chosen.grow) == ("linear", "snip", "none")
    [plain] = trials(STUDY + "criterion: gmp\n", study_file)
    [same] = trials(STUDY + "criterion: gmp\ncriterion.path: cubic\n", study_file)
    assert plain.id == same.id != one.id


@pytest.mark.parametrize(
    ("criterion", "options", "words"),
    [
        ("gmp", {"drop": "snap"}, "gmp: criterion.drop snap: no such saliency; did you mean snip?"),
        (
            "gmp",
            {"drop": "?"},
            "no such saliency; known: magnitude, magnitude.gradient, taylor, taylor-average, lora-average, signed",
        ),
        (
            "gmp",
            {"drop": "lora-average"},
            "drop lora-average: adapters estimate its gradients: take retrain: lora",
        ),
        (
            "granet",
            {"drop": "taylor", "fields": {"retrain": "lora"}},
            "leave out retrain: lora goes where nothing grows",
        ),
        ("acdc", {"fields": {"retrain": "lora"}}, "leave out retrain: lora goes where nothing grows"),
        (
            "gmp",
            {"fields": {"retrain": "lora", "retrain_epochs": 1}},
            "leave out retrain_epochs and retrain_loss",
        ),
        (
            "gmp",
            {"fields": {"retrain": "bn"}},
            "leave out retrain, retrain_epochs and retrain_loss, or take retrain: lora alone where",
        ),
        ("gmp", {"grow": "all"}, "criterion.grow all: path cubic keeps pruned weights out"),
        ("set", {"grow": "none"}, "no mask changes: take criterion random, or another path"),
        ("east", {"grow": "none"}, "path cyclic rises: take another growth, such as gradient"),
        ("acdc", {"grow": "none"}, "path square rises"),
        ("acdc", {"peak": 4}, "criterion.peak: path square, drop magnitude and grow all do not read it"),
        (
            "mest",
            {"cycles": 3},
            "criterion.cycles: path constant, drop magnitude.gradient and grow random do",
        ),
        ("gmp", {"average": 0.5}, "criterion.average: path cubic"),
        ("rigl", {"gradient_weight": 1}, "criterion.gradient_weight: path constant"),
        ("acdc", {"fall": "stairs"}, "criterion.fall: path square"),
        ("east", {"peak": 1}, "criterion.peak 1: give a number above 1"),
        ("east", {"cycles": 0}, "criterion.cycles 0: give a whole number from 1"),
        ("east", {"cycle_end": 1.5}, "criterion.cycle_end 1.5: give a share above 0, up to 1"),
        ("mest", {"gradient_weight": -1}, "criterion.gradient_weight -1: give a number from 0"),
        ("set", {"grow": "momentum", "average": 1}, "criterion.average 1: give a share from 0, below 1"),
        ("mest", {"path": "soft", "fields": {"prune_epoch": 1}}, "mest is sparse from the start: leave out"),
        ("set", {"fields": {"initial_sparsity": 0.5}}, "initial_sparsity: set has a start of its own"),
        ("acdc", {"fields": {"initial_sparsity": 0.5}}, "initial_sparsity: acdc has a start of its own"),
        (
            "granet",
            {"fields": {"initial_sparsity": 0.5, "scope": "uniform"}},
            "scope uniform after initial_scope erk: a layer would have to gain weights: take scope global",
        ),
    ],
)
def test_choices_that_do_not_go_together_are_one_line(criterion, options, words):
    with pytest.raises(BadInput, match=words) as error:
        Trial.of(asked(criterion, **options))
    assert "\n" not in str(error.value)


def test_a_word_that_is_no_path_is_refused(study_file):
    with pytest.raises(BadInput, match=r"criterion\.path.*constant.*square"):
        trials(STUDY + "criterion: gmp\ncriterion.path: steep\n", study_file)


def test_a_rule_reads_what_its_choices_need_and_no_more():
    batches = {"score_batches", "score_batch_size", "balanced", "score_mode", "score_loss"}
    for criterion, options, read in (
        ("gmp", {}, set()),
        ("gmp", {"drop": "taylor"}, set()),
        ("gmp", {"drop": "snip"}, batches | {"mask_seed"}),
        ("gmp", {"drop": "lamp"}, {"score_mode", "mask_seed"}),
        ("gmp", {"grow": "random"}, {"mask_seed", "drop_fraction"}),
        ("granet", {}, {"drop_fraction"}),
        ("acdc", {}, set()),
        ("set", {}, {"drop_fraction", "mask_seed"}),
        ("mest", {"path": "soft"}, {"mask_seed"}),
    ):
        found = rules.find(criterion).reads(asked(criterion, **options))
        assert found & (batches | {"mask_seed", "drop_fraction"}) == read, (criterion, options)


@pytest.mark.parametrize("criterion", ["gmp", "set", "rigl", "granet", "acdc", "mest", "east"])
def test_defaults_of_every_rule_go_together(criterion):
    rule = rules.find(criterion)
    assert not list(rule.choices(config(criterion=criterion)).problems(rule.options()))
    assert rule.options().criterion is None and "snip" in pruners.names()
