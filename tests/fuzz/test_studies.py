import pytest

from tests.fuzz.studies import PIECES, SOURCES, Judge, mutants


@pytest.mark.slow
def test_a_mutant_of_a_study_is_a_study_or_refused_in_one_line_in_little_time_and_memory():
    """`python -m tests.fuzz --studies 10000` judges many more."""
    judge = Judge()
    verdicts = [judge(mutant) for mutant in mutants(seed=0, count=150)]
    assert [verdict.fault for verdict in verdicts if verdict.fault] == []
    assert {verdict.kind for verdict in verdicts} == {"studies", "refused"}


@pytest.mark.slow
@pytest.mark.parametrize("key", ["name", "lr", "search"])
def test_whatever_stands_for_a_value_is_a_value_or_refused(key):
    judge = Judge()
    base = b"dataset: digits\nmodel: conv-5\nepochs: 2\nsparsity: 0.9\ncriterion: snip\n"
    found = {piece: judge(base + f"{key}: {piece}\n".encode()).fault for piece in PIECES}
    assert {piece: fault for piece, fault in found.items() if fault} == {}


def test_mutants_of_a_seed_are_the_same_every_time():
    assert list(mutants(3, 20)) == list(mutants(3, 20)) != list(mutants(4, 20))
    assert not set(mutants(3, 20)) <= set(SOURCES)
