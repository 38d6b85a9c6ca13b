"""A study of texts from its file to its report: own parts, shared states, kept masks, a compensation."""

import pytest

import sweep
from analysis import warehouse
from analysis.report import report
from pruners import COMPENSATIONS
from tests.sweep.trial import test_text

root = test_text.root  # the fixture
MINE = """\
import pruners

@pruners.criterion(needs="nothing")
def cubed(probe):
    return {name: weight.abs() ** 3 for name, weight in probe.weights.items()}
"""


@pytest.mark.slow
def test_own_criteria_shared_states_and_kept_masks_go_with_a_compensation(root, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text(MINE)
    fields = {name: value for name, value in test_text.BASE.items() if name not in ("criterion", "steps")}
    study = sweep.Study(
        fields | {"layers": "* !head.*", "epochs": 1, "prune_epoch": 1},
        name="song",
        metrics=["bits_per_byte"],
        keep="masks",
        criterion=["mine.py:cubed", "magnitude"],
        compensate=["none", "obs"],
        seed=[0, 1],
    )
    results = sweep.run(study, ray=False, data_root=root, quiet=True)
    rows = results.sql(
        "SELECT criterion, config ->> '$.compensate' AS compensate, count(*), min(trained_steps), "
        "count(DISTINCT pre_test_loss) FROM trials WHERE status = 'ok' GROUP BY ALL ORDER BY ALL"
    ).fetchall()
    assert len(rows) == 4 and all(row[2] == row[4] == 2 for row in rows)
    assert min(row[3] for row in rows) == 0, "the dense training of a seed is shared"
    # The cube of a size ranks as the size does, and a compensation changes no mask.
    [(masks,)] = results.sql("SELECT count(DISTINCT bits) / count(DISTINCT layer) FROM masks").fetchall()
    assert masks == 2, "one for each seed"
    best = results.sql(
        "SELECT coalesce(config ->> '$.compensate', 'none') FROM trials JOIN metrics USING (trial_id) "
        "WHERE name = 'bits_per_byte' AND split = 'test' GROUP BY ALL ORDER BY avg(value)"
    ).fetchall()
    assert [name for (name,) in best] == ["obs", "none"]
    places = [str(results.folder)]
    page = report.render(warehouse.open(places, metric="bits_per_byte"), places)
    assert "compensate obs" in page and "bits_per_byte" in page


def test_compensations_are_a_field_of_studies():
    study = sweep.Study(test_text.BASE, name="song", compensate=list(COMPENSATIONS))
    assert len(study.trials()) == len(COMPENSATIONS)
