"""The overlap of masks, of masks with known answers, and of what others have written."""

import json
import math

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from scipy import stats

import analysis
from analysis.questions import masks
from analysis.report import report
from sweep.store import results
from tests.analysis.conftest import trial
from tests.analysis.test_commands import run

# Two layers: of ten weights, and of sixteen.
SHAPES = ([2, 5], [4, 4])


def kept(name, *layers):
    """The rows of `masks` of a trial, from the places of the weights that each layer keeps."""
    made = []
    for number, (shape, places) in enumerate(zip(SHAPES, layers, strict=True)):
        mask = np.zeros(math.prod(shape), bool)
        mask[[*places]] = True
        bits = np.packbits(mask).tobytes()
        fields = {"shape": shape, "params": len(mask), "kept": int(mask.sum()), "bits": bits}
        made.append({"trial_id": name, "layer": number, "name": f"{number}.weight", **fields})
    return made


def write(folder, *given):
    rows, kept_rows = zip(*given, strict=True)
    results.write(folder, rows, [[]], [[]], [], kept_rows)


@pytest.fixture
def made(tmp_path):
    """Three seeds of two criteria at one sparsity; of SNIP also pruned later, and with another scope."""
    given = []
    for seed in range(3):
        fields = {"seed": seed, "test_accuracy": 0.5, "val_accuracy": 0.5}
        given += [
            (trial(f"a{seed}", criterion="snip", **fields), kept(f"a{seed}", range(4), range(seed))),
            (trial(f"b{seed}", criterion="random", **fields), kept(f"b{seed}", range(2, 6), ())),
            (
                trial(f"c{seed}", criterion="snip", prune_epoch=1, **fields),
                kept(f"c{seed}", range(4), range(8)),
            ),
            (
                trial(f"d{seed}", criterion="snip", scope="erk", **fields),
                kept(f"d{seed}", range(4), range(4)),
            ),
        ]
    folder = tmp_path / "made"
    write(folder, *given)
    return folder


def found(folder, *words, **named):
    return masks.overlaps(analysis.open(folder), *words, **named)


@pytest.mark.slow
def test_overlaps_are_over_all_layers_and_by_layer_beside_those_of_random_masks(made):
    whole, first, second = found(made, "snip:global", "random", by_layer=True)
    assert (whole.first, whole.second, whole.seeds, whole.name) == ("snip", "random global", 3, "all layers")
    # Two of six weights in the first layer; none of those that SNIP keeps in the second.
    assert first.name == "0.weight" and first.jaccard.value == pytest.approx(2 / 6) and first.jaccard.equal
    assert first.random == pytest.approx(0.4 * 0.4 / (0.4 + 0.4 - 0.4 * 0.4))
    assert (second.jaccard.value, second.random, second.seeds) == (0, 0, 2), "no weight is kept in seed 0"
    assert whole.jaccard.value == pytest.approx(np.mean([2 / 6, 2 / 7, 2 / 8]))
    chance = 10 * 0.4 * 0.4
    assert whole.random == pytest.approx(np.mean([chance / (8 + more - chance) for more in range(3)]))
    assert whole.densities == pytest.approx((np.mean([4, 5, 6]) / 26, 4 / 26))
    beyond = [2 / (6 + more) - chance / (8 + more - chance) for more in range(3)]
    assert whole.p == pytest.approx(3 * stats.ttest_1samp(beyond, 0).pvalue), "three tests in this answer"
    assert (whole.verdict, first.verdict) == ("more alike", "not told apart")


@pytest.mark.slow
def test_of_nobody_named_every_pair_of_a_setting_is_there_once(made):
    pairs = [(one.first, one.second) for one in found(made)]
    assert len(pairs) == len(set(map(frozenset, pairs))) == 3
    assert {name for pair in pairs for name in pair} == {"snip", "snip erk", "random global"}
    assert {frozenset(pair) for pair in pairs if "snip" in pair} == {
        frozenset((one.first, one.second)) for one in found(made, "snip:global")
    }


@pytest.mark.slow
def test_between_pairs_trials_that_differ_in_one_field(made):
    [one] = found(made, "snip", between="prune_epoch")
    assert one.jaccard.value == pytest.approx(np.mean([(4 + seed) / 12 for seed in range(3)]))
    assert {one.first, one.second} == {"snip prune_epoch=0", "snip prune_epoch=1"}
    said = run("masks", "snip", "--between", "prune_epoch", "--results", made)
    assert said.returncode == 0 and "at 0.9 (random" in said.stdout


@pytest.mark.slow
def test_two_trials_are_named_by_the_beginnings_of_their_ids(made):
    write(made, (trial("abc0", criterion="snip", seed=7, sparsity=0.99), kept("abc0", [0], [0, 1, 2])))
    said = run("masks", "abc", "a2", "--results", made, "--format", "json")
    layers = {row["layer"]: row["jaccard"] for row in json.loads(said.stdout)}
    assert layers == {"all layers": 3 / 7, "0.weight": 1 / 4, "1.weight": 2 / 3}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("nobody",), "nobody: no criterion and no trial of this name; there are: random, snip"),
        (("a", "b0"), "a: several trials begin with it: write more of the id"),
        (("", "b0"), "no criterion and no trial"),
        (("snip", "--between", "color"), "--between color: no field of a study in which arms differ"),
        (("snip", "--between", "seed"), "--between seed: no field"),
        (("snip", "random", "--between", "scope"), "--between scope: it pairs trials of one criterion"),
    ],
)
def test_names_of_nothing_are_one_line(made, words, said):
    answer = run("masks", *words, "--results", made)
    assert answer.returncode == 2 and answer.stderr.count("\n") == 1 and said in answer.stderr


@pytest.mark.slow
def test_what_others_wrote_is_counted_and_left_aside(made, capfd):
    [part] = (made / "masks").glob("part-*")
    sound = pq.read_table(part).filter(pc.field("trial_id") == "a0").to_pylist()[0]
    at_once = ({"shape": [-2, -5]}, {"shape": None}, {"params": 2**62}, {"kept": 11}, {"layer": None})
    in_full = ({"bits": b"\xf0"}, {"bits": b""}, {"bits": None}, {"kept": 3}, {"bits": b"\xe0\x01"})
    strange = [{**sound, "layer": number + 5, **bad} for number, bad in enumerate((*at_once, *in_full))]
    # One also stands in the place of a sound row, in a later part.
    strange.append({**sound, "bits": b"\xff\xff"})
    results.write(made, [], [], [], [], [strange])
    before = found(made)
    said = capfd.readouterr().err.splitlines()
    assert said == [
        f"{made}: 5 rows of no mask: left aside",
        f"{made}: 6 rows of no mask: left aside",
    ]
    assert [one.jaccard.value for one in before if one.first == "random global"]
    connection = analysis.open(made)
    assert connection.execute("SELECT count(*) FROM masks").fetchall() == [(24,)]
    assert connection.execute("SELECT bits FROM masks WHERE trial_id = 'a0' AND layer = 0").fetchall() == [
        (sound["bits"],)
    ]


@pytest.mark.slow
def test_without_kept_masks_the_answer_says_how_to_keep_them_and_the_report_has_no_section(made):
    heading = "How much do masks have in common?"
    assert heading in report.render(analysis.open(made), made)
    for part in (made / "masks").iterdir():
        part.unlink()
    said = run("masks", "--results", made)
    assert said.returncode == 0 and "where its study says keep: masks" in " ".join(said.stdout.split())
    assert heading not in report.render(analysis.open(made), made)


@pytest.mark.slow
def test_masks_of_which_no_two_share_a_setting_are_compared_by_ids(tmp_path):
    """The advice to keep masks alone would send whoever has kept them to keep them again."""
    rows = kept("e0", range(4), range(4)), kept("f0", range(4), range(4))
    write(
        tmp_path,
        (trial("e0", criterion="magnitude", epochs=1, test_accuracy=0.5), rows[0]),
        (trial("f0", criterion="snip", epochs=2, test_accuracy=0.5), rows[1]),
    )
    said = run("masks", "--results", tmp_path)
    assert said.returncode == 0 and "compared by their ids: masks ID ID" in " ".join(said.stdout.split())
    said = run("masks", "e0", "f0", "--results", tmp_path)
    assert said.returncode == 0 and "1.000 at" in said.stdout, said.stdout


@pytest.mark.slow
def test_masks_too_many_for_a_page_are_named(made, monkeypatch):
    monkeypatch.setattr(masks, "_MOST_BITS", 10)
    assert "These masks are too many for a page" in report.render(analysis.open(made), made)


@pytest.mark.slow
def test_masks_of_layers_of_another_size_are_not_compared(made):
    """As of one id of two versions of a part, whose networks differ."""
    rows = kept("e0", range(4), range(4))
    for row in rows:
        row |= {"shape": [8], "params": 8, "kept": 8, "bits": b"\xff"}
    write(made, (trial("e0", criterion="magnitude", test_accuracy=0.5), rows))
    assert found(made, "magnitude", "snip") == []
