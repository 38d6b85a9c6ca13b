"""What the analyses state holds in studies with a planted truth: few here, 300 in `python -m benchmarks.truth`."""

import pytest

from benchmarks.truth.__main__ import PLANTED, measured

REPLICATIONS = 60


@pytest.mark.slow
@pytest.mark.parametrize("name", PLANTED)
def test_what_is_stated_is_seen(name):
    rows = list(measured(name, REPLICATIONS))
    assert rows and not [str(row) for row in rows if not row.holds]
