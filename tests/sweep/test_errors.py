import pytest
import typer

from sweep.errors import BadInput, StoreError, command


@pytest.mark.parametrize("error", [BadInput, StoreError])
def test_an_error_that_a_person_can_mend_is_one_line_and_exit_code_2(error, monkeypatch, capsys):
    app = typer.Typer()

    @app.command()
    def fail() -> None:
        raise error("s3://b/x:\n the store: \udcff away")

    monkeypatch.setattr("sys.argv", ["fail"])
    with pytest.raises(SystemExit) as end:
        command(app, "fail")
    out, err = capsys.readouterr()
    assert end.value.code == 2 and not out
    assert err == "s3://b/x: the store: \\udcff away\n"


def test_an_error_of_a_store_is_no_wrong_input_and_is_caught_as_any_error_of_the_system():
    assert issubclass(StoreError, OSError) and not issubclass(StoreError, BadInput)
