"""Recipes of one's own are mappings of field values in a YAML file: checked as fields, never executed."""

import pytest

from sweep.errors import BadInput
from sweep.study import load

STUDY = "dataset: digits\nmodel: conv-5\nsparsity: 0.9\ncriterion: snip\n"
RECIPES = """\
x-shared: &shared {lr: 0.3, momentum: 0.5}
longer: {<<: *shared, epochs: 9}
faulty:
  lr: x
several: {lr: [0.1, 0.2]}
unknown: {learning: 1}
compares: {sparsity: 0.5}
runs: {lr: !!python/object/apply:os.system [ls]}
nested: {recipe: snip}
"""


@pytest.fixture
def study(tmp_path):
    (tmp_path / "recipes.yaml").write_text(RECIPES)

    def write(more):
        path = tmp_path / "s.yaml"
        path.write_text(STUDY + more)
        return path

    return write


def ids(study):
    return {trial.id for trial in study.trials()}


def test_a_recipe_stands_for_its_fields_that_the_study_does_not_give(study):
    given = "recipe: recipes.yaml:longer\n"
    assert ids(load(study(given))) == ids(load(study("lr: 0.3\nmomentum: 0.5\nepochs: 9\n")))
    assert ids(load(study(given + "lr: 0.1\n"))) == ids(load(study("lr: 0.1\nmomentum: 0.5\nepochs: 9\n")))
    assert ids(load(study(given + "steps: 50\n"))) == ids(load(study("lr: 0.3\nmomentum: 0.5\nsteps: 50\n")))


def test_recipes_of_both_kinds_are_values_of_one_axis(study):
    both = load(study("recipe: [quick, recipes.yaml:longer]\n"))
    assert {trial.config.epochs for trial in both.trials()} == {8, 9}


def test_the_kept_text_holds_the_fields_of_the_recipe(study):
    kept = load(study("recipe: recipes.yaml:longer\n")).text
    assert "x-recipes" in kept and "recipes.yaml:longer" in kept and "epochs: 9" in kept


@pytest.mark.parametrize(
    ("recipe", "said"),
    [
        ("recipes.yaml:faulty", "recipes.yaml:4: lr x: input should be a valid number"),
        ("recipes.yaml:several", "recipes.yaml:5: lr: one value belongs here: put several in the study"),
        ("recipes.yaml:unknown", "recipes.yaml:6: unknown key 'learning' in recipe unknown"),
        ("recipes.yaml:compares", "recipes.yaml:7: unknown key 'sparsity'"),
        ("recipes.yaml:runs", "recipes.yaml:8: lr ls: input should be a valid number"),
        ("recipes.yaml:nested", "recipes.yaml:9: unknown key 'recipe'"),
        ("recipes.yaml:longest", "s.yaml:5: recipe recipes.yaml:longest: recipes.yaml has no such recipe; did you mean longer?"),
        ("recipe.yaml:longer", "s.yaml:5: recipe recipe.yaml:longer: there is no file"),
        ("longer", "s.yaml:5: recipe longer: no such recipe"),
    ],
)  # fmt: skip
def test_a_fault_names_the_file_that_has_it(recipe, said, study):
    path = study(f"recipe: {recipe}\n")
    with pytest.raises(BadInput) as error:
        load(path)
    assert str(error.value).replace(f"{path.parent}/", "").startswith(said)
