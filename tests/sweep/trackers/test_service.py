"""A service that is not installed is one line, before anything runs."""

import pytest

from sweep.errors import BadInput
from sweep.trackers import Service, service


def test_a_missing_library_names_its_extra(tmp_path, monkeypatch):
    monkeypatch.setattr(service, "find_spec", lambda name: None)
    with pytest.raises(BadInput, match=r"mlflow: it is not installed: pip install 'secateur\[mlflow\]'"):
        Service.MLFLOW.check(tmp_path)
