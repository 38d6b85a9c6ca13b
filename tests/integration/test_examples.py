"""An example study, launched as people do it."""

from pathlib import Path

import pytest

import analysis
from tests.integration import launching


@pytest.mark.long
@pytest.mark.slow
def test_a_regression_on_a_table_is_launched_and_measured(tmp_path, on_cluster):
    process = launching.launch(Path("examples/tabular.yaml"), "--results", tmp_path, "--workers", 1)
    code, out, err = launching.end(process)
    assert code == 0, out + err
    connection = analysis.open(tmp_path)
    query = "SELECT count(*), min(value) FROM metrics WHERE name = 'spearman' AND split = 'test'"
    [(count, lowest)] = connection.execute(query).fetchall()
    assert (count, lowest > 0.9) == (6, True)
