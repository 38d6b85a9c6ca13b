"""The report, and pictures, in a real browser."""

import asyncio
import base64
import io
import os
import shutil
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
from PIL import Image

import analysis
from analysis.report import report, watch
from analysis.report.export import write
from sweep.store import results
from tests.analysis import hostile
from tests.analysis.conftest import SPARSITIES, trial

CHROMIUM = os.environ.get("BROWSER_PATH") or shutil.which("chromium") or shutil.which("google-chrome")
pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here: apt-get install chromium"),
    pytest.mark.slow,
]
# The colour of a chart's text.
INK = {"light": "rgb(26, 26, 26)", "dark": "rgb(232, 232, 232)"}


@pytest.fixture
def elsewhere():
    """A server that counts who comes, and its address."""
    came = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            came.append(self.path)
            self.send_error(404)

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield came, f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown(), server.server_close()


def test_labels_of_others_load_nothing_run_nothing_and_are_no_links(full, elsewhere):
    came, address = elsewhere
    labels = (
        f'<a href="{address}/a" style="fill:url({address}/x.svg#a)">x</a>',
        f'</script><script src="{address}/s"></script><img src="{address}/i" onerror="document.title=1">',
        "</title><b onload=document.title=1>$title %{x} &lt;b&gt;",
    )
    rows = [
        trial(f"h{i}{s}{seed}", criterion=label, sparsity=s, seed=seed, test_accuracy=0.5 + seed / 10, val_accuracy=0.5,
              density=1 - s, wall_seconds=2.0, pre_train_loss=s, study=label)
        for i, label in enumerate(labels)
        for s in SPARSITIES
        for seed in range(3)
    ]  # fmt: skip
    results.write(full, rows, [[]], [[]])
    page = full / "hostile.html"
    page.write_text(report.render(analysis.open(full), full))
    seen = asyncio.run(look(page))
    assert seen["charts"] == seen["drawn"] and seen["loads"] == [] and came == []
    assert seen["links"] == [] and seen["title"] != "1"


@pytest.mark.parametrize("watched", [False, True])
def test_the_page_of_a_hostile_folder_loads_nothing_and_runs_nothing(watched, tmp_path, elsewhere):
    came, address = elsewhere
    (tmp_path / "victim").write_text("untouched")
    folder = hostile.build(tmp_path / "results", tmp_path / "victim", address).parent
    page = tmp_path / "report.html"
    if watched:
        running = watch.server(folder, lambda: report.render(analysis.open(folder), folder))
        threading.Thread(target=running.serve_forever, daemon=True).start()
        page = f"http://127.0.0.1:{running.server_address[1]}/"
    else:
        page.write_text(report.render(analysis.open(folder), folder))
    seen = asyncio.run(look(page))
    if watched:
        running.shutdown(), running.server_close()
    assert seen["charts"] == seen["drawn"] > 3 and came == []
    assert set(seen["loads"]) <= {f"{page}version", f"{page}running"}
    assert seen["links"] == [] and seen["title"] != "1" and seen["pwned"] is None


@pytest.fixture
def full(made):
    """Made results with curves and layers too: everything a report draws."""
    rows = [
        trial(f"f{sparsity}", criterion="force", iterations=20, sparsity=sparsity, prune_epoch=1, test_accuracy=0.5,
              val_accuracy=0.5, density=1 - sparsity, wall_seconds=2.0, pre_train_loss=sparsity)
        for sparsity in SPARSITIES
    ]  # fmt: skip
    curves = [
        [
            {"trial_id": r["trial_id"], "phase": "retrain", "epoch": float(e), "val_accuracy": 0.5}
            for e in (1, 2)
        ]
        for r in rows
    ]
    layers = [
        [
            {"trial_id": r["trial_id"], "layer": i, "name": f"{i}.weight", "kept": i, "density": i / 9}
            for i in (0, 1)
        ]
        for r in rows
    ]
    results.write(made, rows, curves, layers)
    return made


async def look(page):
    """What a browser makes of the page: complaints, charts, searches and screenshots."""
    import choreographer

    seen = {"complaints": []}
    async with choreographer.Browser(path=CHROMIUM, headless=True, enable_sandbox=False) as browser:
        tab = await browser.create_tab("about:blank")

        async def send(command, **params):
            answer = await tab.send_command(command, params=params)
            assert "error" not in answer, answer
            return answer["result"]

        async def value(expression):
            found = await send(
                "Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True
            )
            assert "exceptionDetails" not in found, found
            return found["result"].get("value")

        async def complain(event):
            entry = event["params"].get("entry", {"level": "error"})
            if entry["level"] == "error":
                seen["complaints"].append(event["params"])

        for event in ("Runtime.exceptionThrown", "Log.entryAdded"):
            tab.subscribe(event, complain)
        for domain in ("Runtime", "Log", "Page"):
            await send(f"{domain}.enable")
        await send("Page.navigate", url=str(page) if str(page).startswith("http") else f"file://{page}")
        for _ in range(300):
            if await value("document.documentElement?.dataset.drawn") == "yes":
                break
            await asyncio.sleep(0.1)
        seen["charts"] = await value("document.querySelectorAll('.chart').length")
        # A chart that is drawn has an axis or a map with a size.
        seen["drawn"] = await value(
            "[...document.querySelectorAll('.chart')].filter(c => c.querySelector('.main-svg') && "
            "c.querySelector('.main-svg').getBoundingClientRect().height > 100 && c.data.length).length"
        )
        # Heat maps are pictures that the page itself holds.
        seen["links"] = await value(
            "[...document.querySelectorAll('a, image, img')].filter(element => "
            "!(element.href?.baseVal ?? '').startsWith('data:')).map(element => element.outerHTML)"
        )
        seen["pwned"] = await value("document.documentElement.dataset.pwned")
        seen["title"] = await value("document.title")
        seen["loads"] = await value("performance.getEntriesByType('resource').map(e => e.name)")
        for words in ("snip global-0.98", "no such thing", ""):
            await value(
                f"(search.value = '{words}', search.dispatchEvent(new Event('input')), document.title)"
            )
            seen[words] = await value("document.querySelectorAll('#trials tbody tr').length")
        await value("document.querySelector('#trials th:nth-child(16) button').click()")
        seen["sorted"] = await value(
            "[...document.querySelectorAll('#trials tbody tr')].map(r => r.cells[15].textContent).filter(Boolean).map(Number)"
        )
        for width, scheme in ((1000, "light"), (1000, "dark"), (380, "light")):
            await send(
                "Emulation.setDeviceMetricsOverride",
                width=width,
                height=800,
                deviceScaleFactor=1,
                mobile=False,
            )
            await send(
                "Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}]
            )
            for _ in range(50):
                ink = await value("document.querySelector('.chart .xtick text').style.fill")
                if ink == INK[scheme]:
                    break
                await asyncio.sleep(0.1)
            await asyncio.sleep(0.2)  # for the charts, which follow the width
            picture = (await send("Page.captureScreenshot", format="png"))["data"]
            overflow = await value("document.documentElement.scrollWidth - innerWidth")
            image = np.asarray(Image.open(io.BytesIO(base64.b64decode(picture))).convert("L"), dtype=float)
            seen[scheme, width] = image, ink, overflow
        seen["focusable"] = await value(
            "[...document.querySelectorAll('.chart, .scroll, #search, select, summary, th button')].every(e => e.tabIndex >= 0)"
        )
    return seen


def test_the_report_is_drawn_searched_and_themed_by_a_browser(full, tmp_path):
    page = tmp_path / "report.html"
    page.write_text(report.render(analysis.open(full), full))
    seen = asyncio.run(look(page))
    assert seen["complaints"] == [] and seen["loads"] == []
    assert seen["charts"] == seen["drawn"] >= 7
    assert (seen["snip global-0.98"], seen["no such thing"], seen[""]) == (3, 0, 50)
    assert seen["sorted"] == sorted(seen["sorted"]) and len(seen["sorted"]) == 50
    light, dark = seen["light", 1000], seen["dark", 1000]
    # Most of a light page is near white, of a dark one near black; text and grid are there on both.
    assert np.median(light[0]) > 240 and np.median(dark[0]) < 40
    assert light[0].std() > 5 and dark[0].std() > 5
    assert light[1] == INK["light"] and dark[1] == INK["dark"]
    assert seen["light", 380][2] <= 0, "a phone need not scroll sideways"
    assert seen["focusable"]


def test_pictures_are_drawn(made, tmp_path):
    for kind, start in (("png", b"\x89PNG"), ("svg", b"<svg"), ("pdf", b"%PDF")):
        [path] = write(analysis.open(made), tmp_path / f"chart.{kind}")
        data = path.read_bytes()
        assert data.startswith(start) and len(data) > 5000
