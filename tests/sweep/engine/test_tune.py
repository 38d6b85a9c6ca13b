import pytest

from sweep.engine import cluster


@pytest.mark.parametrize(
    ("nodes", "gpus", "expected"),
    [
        ([{"CPU": 2.0}], 0, (2, 1)),
        ([{"CPU": 0.0}, {"CPU": 4.0}, {"GPU": 1.0}], 0, (4, 1)),
        ([{"CPU": 16.0, "GPU": 1.0}], 0.25, (4, 4)),
        ([{"CPU": 8.0, "GPU": 1.0}, {"CPU": 8.0, "GPU": 1.0}], 1, (2, 8)),
        ([{"CPU": 64.0}, {"CPU": 16.0, "GPU": 1.0}], 0.5, (2, 8)),
        ([{"CPU": 8.0, "GPU": 2.0}], 0.6, (2, 4)),
        ([{"CPU": 32.0, "GPU": 4.0}], 2, (2, 16)),
        ([{"CPU": 2.0, "GPU": 1.0}], 0.1, (2, 1)),
        ([{"CPU": 8.0, "GPU": 1.0}, {"CPU": 4.0, "GPU": 4.0}], 1, (5, 1)),
        ([{"CPU": 8.0}], 1, (0, 1)),
        ([], 0, (0, 1)),
    ],
)
def test_workers_get_what_a_single_node_has(nodes, gpus, expected):
    """A GPU's share is of one GPU, and cores are those of the node that the GPU is in."""
    assert cluster.slots(nodes, gpus) == expected
