"""What the analyses state holds in studies with a planted truth: few here, 300 in `python -m benchmarks.truth`."""

import pytest

from benchmarks.truth.__main__ import PLANTED, measured

REPLICATIONS = 60
# What holds of every network, not of a share of studies: more networks prove no more.
FEWER = {"recalibration": 6}
LONG = ("scaling", "correlation")


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.long if name in LONG else ()) for name in PLANTED]
)
def test_what_is_stated_is_seen(name):
    rows = list(measured(name, FEWER.get(name, REPLICATIONS)))
    assert rows and not [str(row) for row in rows if not row.holds]
