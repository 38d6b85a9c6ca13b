"""The log of a job as it is shown, while it grows."""

from rich.console import Console

from sweep.slurm.follow import Log


def test_whole_lines_are_shown_as_they_come(tmp_path, capsys):
    file, console = tmp_path / "log", Console(soft_wrap=True)
    log = Log(file, tail=False)
    assert not log.relay(console), "the job has not written yet"
    file.write_bytes(b"one\ntw")
    assert log.relay(console) and capsys.readouterr().out == "one\n"
    file.write_bytes(b"one\ntwo \xff \x1b[2J\n")
    assert log.relay(console) and capsys.readouterr().out == "two \ufffd \\x1b[2J\n"
    file.write_bytes(b"anew\n")
    assert log.relay(console) and capsys.readouterr().out == "anew\n"


def test_of_an_earlier_log_the_last_whole_lines_are_shown(tmp_path, capsys):
    file = tmp_path / "log"
    file.write_text("".join(f"line {number}\n" for number in range(1000)))
    Log(file, tail=True).relay(Console(soft_wrap=True))
    said = capsys.readouterr().out.splitlines()
    assert 100 < len(said) < 300 and said[0] == f"line {1000 - len(said)}" and said[-1] == "line 999"
