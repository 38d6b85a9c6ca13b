"""Event files as TensorBoard's own reader reads them."""

from dataclasses import replace

import pytest

from sweep.errors import BadInput
from sweep.store.places import place
from sweep.trackers import Run, Service
from sweep.trackers.tensorboard import check
from tests.sweep.trackers.made import HOSTILE, rows

pytestmark = pytest.mark.slow


def read(folder):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    reader = EventAccumulator(str(folder))
    reader.Reload()
    return reader


def test_a_trial_has_its_curves_its_numbers_and_its_parameters_in_the_group_of_its_cell(tmp_path):
    from tensorboard.plugins.hparams.metadata import (
        SESSION_START_INFO_TAG,
        parse_session_start_info_plugin_data,
    )

    tracker = Service.TENSORBOARD.tracker(tmp_path)
    runs = [Run.of(*rows(f"{seed}", config={"seed": seed})) for seed in (0, 1)]
    assert all(map(tracker.log, runs))
    folders = sorted((tmp_path / "made" / "log").glob("*/*"))
    assert [folder.name for folder in folders] == [f"snip_sparsity_0.9_seed_{seed}_{seed}" for seed in (0, 1)]
    groups = set()
    for folder in folders:
        reader = read(folder)
        assert [(e.step, e.value) for e in reader.Scalars("curve/val_accuracy")] == [
            (1, pytest.approx(0.1)),
            (2, pytest.approx(0.2)),
        ]
        assert [event.value for event in reader.Scalars("test_accuracy")] == [0.5]
        content = reader.SummaryMetadata(SESSION_START_INFO_TAG).plugin_data.content
        started = parse_session_start_info_plugin_data(content)
        assert (
            started.hparams["lr"].number_value == 0.1 and started.hparams["criterion"].string_value == "snip"
        )
        groups.add(started.group_name)
    assert groups == {runs[0].cell}


def test_a_trial_that_is_there_stays_and_a_later_run_takes_its_place(tmp_path):
    tracker = Service.TENSORBOARD.tracker(tmp_path, str(tmp_path / "to"))
    assert [tracker.log(Run.of(*rows(later=later))) for later in (0, 0, 1, 1)] == [True, False, True, False]
    [file] = (tmp_path / "to").glob("made/*/*/*")
    assert [event.value for event in read(file.parent).Scalars("test_accuracy")] == [pytest.approx(0.51)]


def test_names_of_others_lead_to_no_other_folder(tmp_path):
    tracker = Service.TENSORBOARD.tracker(tmp_path / "results")
    config = {"criterion": HOSTILE, "scope": "/etc"}
    for study in (HOSTILE, "..", "/tmp/x"):
        assert tracker.log(Run.of(*rows(HOSTILE, study=study, config=config)))
    assert [path.name for path in tmp_path.iterdir()] == ["results"]
    assert len([*(tmp_path / "results").glob("*/log/*/*/events*")]) == 3


def test_a_folder_that_cannot_be_written_leaves_no_part(tmp_path):
    tracker = Service.TENSORBOARD.tracker(tmp_path)
    with pytest.raises(TypeError):
        tracker.log(replace(Run.of(*rows()), numbers={"loss": "text"}))
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_files_need_a_folder():
    with pytest.raises(
        BadInput, match=r"go to a folder, not to s3://b/r: .* export tensorboard .* --to FOLDER"
    ):
        check(place("s3://b/r"), None)
    check(place("s3://b/r"), "folder")
