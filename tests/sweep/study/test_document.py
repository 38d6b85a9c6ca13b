"""Files that are no study: each is refused at once, in one line that names its place."""

import re
import time

import pytest

from sweep.errors import BadInput
from sweep.study import load

BASE = "dataset: digits\nmodel: conv-5\nepochs: 2\nsparsity: 0.9\ncriterion: snip\n"
SEARCH = BASE.replace("sparsity: 0.9\n", "") + "search:\n  space:\n    sparsity: [0.9, 0.95]\n"


def refused(content, folder):
    """The line number and the reason of the error. It must come in seconds: exponential work takes hours."""
    path = folder / "s.yaml"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    began = time.process_time()
    with pytest.raises(BadInput) as error:
        load(path)
    assert time.process_time() - began < 30
    said = str(error.value)
    assert said.isprintable() and len(said) < 2000
    line, why = re.fullmatch(rf"{re.escape(str(path))}:(\d+): (.+)", said).groups()
    return int(line), why


@pytest.mark.parametrize(
    ("written", "why"),
    [
        ("seed: 010", "seed 010: cannot be read as a number: decimal digits, no leading zeros"),
        ("epochs: 0100", "no leading zeros"),
        ("lr: 010", "no leading zeros"),
        ("split_seed: 010", "no leading zeros"),
        ("warmup_epochs: 1:30", "cannot be read as a number"),
        ("lr: 1:30.5", "cannot be read as a number"),
        ("price_per_gpu_hour: 010", "no leading zeros"),
        ("seed: 08", "text, where a whole number belongs"),
        ("seed: 0o10", "text, where a whole number belongs"),
        ("nesterov: !!bool x", "cannot be read as a value"),
        ("layers: !!timestamp x", "cannot be read as a value"),
        ("layers: 2001-01-01", "cannot be read as a value"),
        ("seed: !!int ''", "cannot be read as a number"),
        ("lr: !!float x", "cannot be read as a number"),
        ("layers: !!binary c25pcA==", "cannot be read as a value"),
        ("layers: !!python/name:os.system ''", "cannot be read as a value"),
        (f"seed: {'9' * 5000}", "cannot be read as a number"),
        (f"seed: {'9' * 5000}..1", "text, where a whole number belongs"),
        (f"seed: 0x{'f' * 5000}", "less than"),
        (f"layers: !!int {'x' * 100_000}", "cannot be read as a number"),
        ("seed: &r [*r]", "nothing nested"),
        ("name: &r [*r]", "one name belongs here"),
        ("price_per_gpu_hour: &r {a: *r}", "nothing nested"),
        ("? &r [*r]\n: 1", "unknown key"),
        ('layers: "\\uD800"', "cannot be read as a value"),
        ('layers: "\\UFFFFFFFF"', "not YAML: a number that is too large"),
        ('scope: "\\e[2J\\n\\a"', r"scope \x1b[2J\n\x07: no such scope"),
        ("init_seed: \x07", "not YAML: special characters"),
        ("init_seed: *none", "not YAML: found undefined alias"),
    ],
)
def test_a_scalar_that_no_field_takes_is_refused_with_its_line(written, why, tmp_path):
    base = "\n".join(line for line in BASE.splitlines() if line.split(":")[0] != written.split(":")[0])
    line, said = refused(f"{base}\n{written}\n", tmp_path)
    assert why in said and line == base.count("\n") + 2


@pytest.mark.parametrize(
    ("written", "why"),
    [
        ("trials: !!int x", "trials x: cannot be read as a number"),
        ("trials: 010", "no leading zeros"),
        ("trials: &r [*r]", "one value belongs here"),
        ("trials: true", "no place for true or false"),
        ("trials: '40'", "text, where a whole number belongs"),
        ("seeds: !!python/object/apply:os.system [ls]", "one value belongs here"),
        ("no_collapse: 'no'", "true or false belongs here, not text"),
        ("min_accuracy: true", "no place for true or false"),
        ("objectives: []", "an empty list"),
        ("objectives: &r [*r]", "nothing nested"),
        ("objectives: [accuracy, speed]", "input should be 'accuracy', 'density' or 'cost'"),
    ],
)
def test_the_settings_of_a_search_are_checked_as_fields_are(written, why, tmp_path):
    line, said = refused(f"{SEARCH}  {written}\n", tmp_path)
    assert why in said and line == SEARCH.count("\n") + 1


LAUGHS = "&a0 [x, x], " + ", ".join(f"&a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 30))


@pytest.mark.parametrize(
    "place", ["name", "price_per_gpu_hour", "seed", "blocks", "recipe", "? key\n: 1\n? ["]
)
def test_aliases_that_grow_exponentially_are_refused_at_once(place, tmp_path):
    written = f"? [{LAUGHS}]\n: 1" if place.startswith("?") else f"{place}: [{LAUGHS}]"
    assert refused(f"{BASE}{written}\n", tmp_path)[0] == 6


@pytest.mark.slow
@pytest.mark.parametrize("brackets", ["[", "{a: ", "? ", "- "])
def test_deep_nesting_is_refused_at_once(brackets, tmp_path):
    refused(BASE + "seed: " * (brackets[0] in "[{") + brackets * 20_000, tmp_path)


def test_the_limit_on_trials_counts_all_blocks_and_is_checked_before_trials_are_made(tmp_path):
    block = "  - seed: 0..99999\n"
    assert refused(f"{BASE}blocks:\n{block * 60}", tmp_path) == (
        17,
        "this asks for more than 1,000,000 trials: split the study",
    )
    assert "more than" in refused(f"{BASE}seed: [{', '.join(['0..99999'] * 60)}]\n", tmp_path)[1]
    aliases = "  - &b\n    seed: 0..9999\n" + "  - *b\n" * 300
    assert "more than" in refused(f"{BASE}blocks:\n{aliases}", tmp_path)[1]
    span = "[" + ", ".join(["0..99999"] * 60) + "]"
    dimension = SEARCH.replace("[0.9, 0.95]", f"[0.9]\n    combination: {span}")
    assert "6,000,000 values, where at most 100,000 belong" in refused(dimension, tmp_path)[1]
    beside = SEARCH.replace("search:", f"seed: {span}\nsearch:")
    assert "one value beside a search" in refused(beside, tmp_path)[1]


@pytest.mark.slow
def test_values_that_do_not_go_together_are_refused_before_trials_are_made(tmp_path):
    block = "  - criterion: snip\n    seed: 0..99999\n" * 9 + "  - criterion: gmp\n    rewind_epoch: 0\n"
    line, why = refused(f"{BASE}blocks:\n{block}", tmp_path)
    assert line == 26 and why.startswith("gmp prunes along training")
    refused(f"{BASE.replace('snip', '[snip, gmp]')}rewind_epoch: 0\nseed: 0..99999\n", tmp_path)


def test_a_file_that_is_not_utf8_is_refused_with_its_line(tmp_path):
    assert refused(b"# one\n# two caf\xe9\n", tmp_path) == (
        2,
        "not a text file in UTF-8: name a study file, or one that comes along, such as quickstart",
    )
    assert refused(BASE.encode("utf-16"), tmp_path)[0] == 1


def test_a_file_without_end_is_refused():
    with pytest.raises(BadInput, match="/dev/zero:1: over 1 MiB: name a study file"):
        load("/dev/zero")


def test_line_ends_and_a_byte_order_mark_change_nothing(tmp_path):
    path = tmp_path / "s.yaml"
    path.write_bytes(b"\xef\xbb\xbf" + BASE.replace("\n", "\r\n").encode())
    assert len(load(path).trials()) == 1


def test_numbers_are_read_as_they_are_written(tmp_path):
    path = tmp_path / "s.yaml"
    path.write_text(
        f"{BASE}seed: [0, 1_000, 0x10, 0b11, +7, 010..012, !!int '5']\nlr: [.1, 1e-2, 1_0.5, !!float 3]\n"
    )
    configs = [trial.config for trial in load(path).trials()]
    assert {config.seed for config in configs} == {0, 1000, 16, 3, 7, 10, 11, 12, 5}
    assert {config.lr for config in configs} == {0.1, 0.01, 10.5, 3}


def test_a_name_is_refused_if_it_or_the_name_of_its_best_study_is_too_long_for_a_folder(tmp_path):
    path = tmp_path / "s.yaml"
    for name in ("磁" * 76, "a" * 100, "a" * 100 + "-best"):
        path.write_text(f"name: {name}\n{BASE}", encoding="utf-8")
        (tmp_path / load(path).name).mkdir()
        (tmp_path / f".{load(path).name}-best.needs.1234abcd").touch()
    for name in ("磁" * 77, "𐐀" * 100, "a" * 101, "a" * 101 + "-best", "a-best" * 20):
        assert "up to 100 letters" in refused(f"{BASE}name: {name}\n", tmp_path)[1]
