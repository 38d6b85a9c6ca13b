"""Studies that come along are found by name, wherever a person is."""

from pathlib import Path

import pytest

from sweep import shipped
from sweep.errors import BadInput
from sweep.study import load


def test_a_name_is_a_study_unless_there_is_a_file_of_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("quickstart").mkdir()
    assert load("quickstart").name == "quickstart" and len(load("quickstart").trials()) == 216
    Path("quickstart").rmdir()
    Path("quickstart").write_text(
        "dataset: digits\nmodel: conv-5\nepochs: 1\ncriterion: snip\nsparsity: 0.5\n"
    )
    assert len(load("quickstart").trials()) == 1


@pytest.mark.parametrize("text", ["quickstat", "quickstart.yaml", "studies/quickstart.yaml"])
def test_what_is_nearly_a_name_says_so_in_one_line(text, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(
        BadInput, match=f"^{text}: there is no such file; did you mean quickstart, which comes with"
    ):
        load(text)


def test_no_study_hides_another_and_an_example_finds_its_part(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    files = [*Path(shipped.__file__).parent.glob("*/*.yaml")]
    assert len(files) == len(shipped.studies()) > 25
    assert load("criterion").parts
