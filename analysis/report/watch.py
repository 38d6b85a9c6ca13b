"""The report as a page served on this machine, which follows a running study."""

import hashlib
import sys
from collections.abc import Callable
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock

from analysis.report import running
from analysis.warehouse import Places
from analysis.warehouse.live import live
from analysis.warehouse.union import members
from sweep.errors import ONE_LINE, BadInput
from sweep.foreign import html

_NOTHING_YET = """<!doctype html><html><head>
<meta charset="utf-8"><meta http-equiv="refresh" content="3">
</head><body><p>{}</p><section id="running"></section></body></html>"""
_EMPTY = '<section id="running"></section>'


def version(results: Places) -> str:
    """A text that changes when a part is added or removed."""
    parts = []
    with suppress(BadInput):  # there are no results yet
        parts = [part for each in members(results) for part in each.parts("trials")]
    newest = max((part.name for part in parts), default="")
    # Hashed: others may have chosen the name, and the text goes into a page.
    return hashlib.sha256(f"{len(parts)} {newest}".encode(errors="surrogateescape")).hexdigest()[:16]


def server(
    results: Places, render: Callable[[], str], port: int = 0, study: str | None = None
) -> ThreadingHTTPServer:
    """A server on the loopback address. It renders the page only when the results have changed.

    Args:
        render: returns the page's HTML.
        port: 0: any free port.
        study: only its running trials are shown; None: those of all.
    """
    lock = Lock()
    latest = ["", ""]

    def page() -> str:
        with lock:
            now = version(results)
            if latest[0] != now or not latest[1]:
                try:
                    text = render()
                except ONE_LINE as no_trials:
                    text = _NOTHING_YET.format(html(str(no_trials)))
                latest[:] = now, text
            # The first ones are the page's own: all text from results is escaped.
            text = latest[1].replace("</head>", f'<meta name="version" content="{latest[0]}"></head>', 1)
        return text.replace(_EMPTY, f'<section id="running">{now_running()}</section>', 1)

    def now_running() -> str:
        try:
            trials = live(results)
        except ONE_LINE:  # the store does not answer: the next time
            trials = []
        return running.section([each for each in trials if study in (None, each.study)])

    answers = {"/": page, "/version": lambda: version(results), "/running": now_running}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path not in answers:
                self.send_error(404)
                return
            # Refuse foreign Host headers (DNS rebinding): another site's page could read this one.
            if (self.headers["Host"] or "").partition(":")[0] not in ("127.0.0.1", "localhost"):
                self.send_error(403)
                return
            body = answers[self.path]().encode()
            kind = "text/plain" if self.path == "/version" else "text/html"
            self.send_response(200)
            self.send_header("Content-Type", f"{kind}; charset=utf-8")
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Cache-Control", "no-store")
            self.end_headers()
            with suppress(BrokenPipeError):  # the browser has closed the connection
                self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Do not log: the page asks for the version every few seconds."""

    return ThreadingHTTPServer(("127.0.0.1", port), Handler)


def serve(results: Places, render: Callable[[], str], study: str | None = None) -> None:
    """Serve until Ctrl-C."""
    with server(results, render, study=study) as serving:
        print(f"report: http://127.0.0.1:{serving.server_address[1]}/  (Ctrl-C ends)", flush=True)
        try:
            serving.serve_forever()
        except KeyboardInterrupt:
            print(file=sys.stderr)
