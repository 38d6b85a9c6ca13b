import resource
import time

import optuna
import pytest
from optuna.storages import JournalStorage

from sweep.errors import BadInput
from sweep.search.journal import Journal


def remembered(folder):
    return optuna.create_study(
        storage=JournalStorage(Journal(folder).backend()), study_name="one", load_if_exists=True
    )


@pytest.fixture
def one(tmp_path):
    study = remembered(tmp_path)
    study.tell(study.ask(), 0.5)
    return tmp_path


def test_a_search_that_was_killed_while_it_held_optunas_lock_is_not_waited_for(one):
    (one / "optuna.journal.lock").symlink_to(one / "optuna.journal")
    started = time.monotonic()
    study = remembered(one)
    study.tell(study.ask(), 0.7)
    assert time.monotonic() - started < 10, "Optuna itself waits 30 s"
    assert [trial.value for trial in remembered(one).trials] == [0.5, 0.7]


def test_a_disk_that_refuses_is_one_line(one):
    study = remembered(one)
    asked = study.ask()
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, ((one / "optuna.journal").stat().st_size, before[1]))
    try:
        with pytest.raises(BadInput, match="File too large: make room and search again"):
            study.tell(asked, 0.7)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    study = remembered(one)
    study.tell(study.ask(), 0.8)
    assert [trial.value for trial in remembered(one).trials if trial.value] == [0.5, 0.8]


def test_a_line_that_was_cut_off_is_forgotten_and_the_search_goes_on(one):
    whole = (one / "optuna.journal").read_bytes()
    with (one / "optuna.journal").open("ab") as file:
        file.write(whole.splitlines(keepends=True)[-1][:20])
    study = remembered(one)
    study.tell(study.ask(), 0.7)
    assert [trial.value for trial in remembered(one).trials] == [0.5, 0.7]
