"""Tests here start Ray, which takes both cores: one after another, while those elsewhere run beside them."""

from pathlib import Path

import pytest


def pytest_collection_modifyitems(items):
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.xdist_group("integration"))
