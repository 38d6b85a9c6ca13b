"""examples/first_study.ipynb: it runs from its first cell to its last, in a folder where nothing else is."""

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

PATH = Path(__file__).parents[1] / "examples" / "first_study.ipynb"


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """The outputs of each cell that has code, by the cell's first line."""
    notebook = nbformat.read(PATH, as_version=4)
    folder = tmp_path_factory.mktemp("notebook")
    NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(folder)}}).execute()
    return {
        cell.source.partition("\n")[0]: cell.outputs for cell in notebook.cells if cell.cell_type == "code"
    }


def printed(outputs):
    return "".join(
        output.text for output in outputs if output.output_type == "stream" and output.name == "stdout"
    )


def shown(outputs, kind="text/html"):
    return [output.data[kind] for output in outputs if kind in output.get("data", {})]


@pytest.mark.long
@pytest.mark.slow
def test_the_notebook_runs_and_says_what_it_ran(run):
    launched = run["results = sweep.run(study, workers=2)"]
    assert "first-study: 12 trials, 0 with a result, 12 to run" in printed(launched)
    assert not [output for output in launched if output.get("name") == "stderr"], "nothing of Ray's own"
    [counts] = shown(launched)
    assert "first-study: 12 ok" in counts
    # How far the launch is is one text, shown anew, and no line for every few seconds.
    [progress] = [text for text in shown(launched, "text/plain") if "of 12 trials" in text]
    assert "12 of 12 trials" in progress


@pytest.mark.long
@pytest.mark.slow
def test_an_answer_prints_shows_a_table_and_plots(run):
    [asked] = [outputs for first, outputs in run.items() if first.startswith("answer = ")]
    assert "snip erk against random erk: " in printed(asked)
    [table] = shown(run["answer"])
    assert "<li>snip erk against random erk: " in table and "<table>" in table
    [figure] = shown(run["answer.plot()"], "application/vnd.plotly.v1+json")
    assert {trace["name"] for trace in figure["data"] if "name" in trace} == {"snip erk", "random erk"}


@pytest.mark.long
@pytest.mark.slow
def test_results_are_frames_and_a_criterion_of_a_cell_is_tried(run):
    [frame] = shown(run["trials = results.trials().df()"])
    assert frame.count("<tr") == 13
    [own] = [shown(outputs) for first, outputs in run.items() if first.startswith("own = ")]
    assert "mine.py:weight_times_gradient@" in own[0]


@pytest.mark.slow
def test_the_notebook_is_kept_without_outputs():
    cells = [cell for cell in nbformat.read(PATH, as_version=4).cells if cell.cell_type == "code"]
    assert cells and not any(cell.outputs or cell.execution_count for cell in cells)
