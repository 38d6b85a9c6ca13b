import re
from pathlib import Path

import pytest

import analysis
from analysis.labels import CHOICE
from analysis.warehouse import query
from sweep.config import Config, Trial

NAMES = sorted(path.stem for path in (Path(analysis.__file__).parent / "queries").glob("*.sql"))


@pytest.mark.parametrize("name", NAMES)
def test_each_query_runs_as_it_is_and_says_what_its_columns_are(name, made):
    text = query(name)
    head = text[: re.search(r"^[^-]", text, re.MULTILINE).start()]
    assert "?" in head and "\n-- One row" in head
    answer = analysis.open(made).sql(text)
    for column in answer.columns:
        assert re.search(rf"\b{column}\b", head), f"{name}.sql does not say what {column} is"


@pytest.mark.parametrize("name", [name for name in NAMES if name != "regimes"])
def test_configs_less_seed_and_sparsity_are_equal_for_seeds_and_sparsities(name):
    """The pattern of the queries takes both out of what a launch writes: they are neighbours there."""
    [pattern] = {*re.findall(r"regexp_replace\(config, '(.*?)'", query(name))}
    trials = [
        Trial.of(Config(dataset="digits", model="conv-5", criterion=c, epochs=1, sparsity=s, seed=seed))
        for c, s, seed in (("snip", 0.5, 0), ("snip", 0.99999, 12), ("dense", 0, 3), ("force", 1e-7, 2**62))
    ]
    arms = [re.sub(pattern, "", trial.canonical, count=1) for trial in trials]
    assert not any('"seed"' in arm or '"sparsity"' in arm for arm in arms)
    assert arms[0] == arms[1] and len(set(arms)) == 3


@pytest.mark.parametrize("name", ["crossover", "correlation"])
def test_queries_and_labels_take_the_same_fields_for_the_choice_of_a_mask(name):
    [fields] = re.findall(r"json_merge_patch\(arm, '(.*?)'\)", query(name), re.DOTALL)
    assert set(re.findall(r'"(\w+)": null', fields)) == set(CHOICE) <= set(Config.model_fields)
