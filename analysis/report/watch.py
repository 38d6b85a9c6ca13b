"""The report on a page of this machine that follows a running study."""

import hashlib
import sys
from collections.abc import Callable
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock

from sweep.errors import ONE_LINE
from sweep.foreign import html
from sweep.store.parts import pattern
from sweep.store.places import Place

_NOTHING_YET = """<!doctype html><html><head>
<meta charset="utf-8"><meta http-equiv="refresh" content="3">
</head><body><p>{}</p></body></html>"""


def version(results: Place) -> str:
    """Text that changes when a part comes or goes."""
    parts = [part for one_study in (True, False) for part in results.glob(pattern("trials", one_study))]
    newest = max((part.name for part in parts), default="")
    # A name that others chose is no text for a page.
    return hashlib.sha256(f"{len(parts)} {newest}".encode(errors="surrogateescape")).hexdigest()[:16]


def server(results: Place, render: Callable[[], str], port: int = 0) -> ThreadingHTTPServer:
    """A server on the loopback address that renders the page when there is something new, and only then."""
    lock = Lock()
    latest = ["", ""]

    def page() -> str:
        with lock:
            now = version(results)
            if latest[0] != now or not latest[1]:
                try:
                    text = render()
                except ONE_LINE as nothing_yet:
                    text = _NOTHING_YET.format(html(str(nothing_yet)))
                latest[:] = now, text
            # The first one ends the head of the page, where nothing of the results stands unescaped.
            return latest[1].replace("</head>", f'<meta name="version" content="{latest[0]}"></head>', 1)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path not in ("/", "/version"):
                self.send_error(404)
                return
            # A name of somebody else's that leads here is a page of theirs that wants to read this one.
            if (self.headers["Host"] or "").partition(":")[0] not in ("127.0.0.1", "localhost"):
                self.send_error(403)
                return
            body = (version(results) if self.path == "/version" else page()).encode()
            kind = "text/plain" if self.path == "/version" else "text/html"
            self.send_response(200)
            self.send_header("Content-Type", f"{kind}; charset=utf-8")
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Cache-Control", "no-store")
            self.end_headers()
            with suppress(BrokenPipeError):  # the reader has gone on
                self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Say nothing of every look at what is new."""

    return ThreadingHTTPServer(("127.0.0.1", port), Handler)


def serve(results: Place, render: Callable[[], str]) -> None:
    """Serve until Ctrl-C."""
    with server(results, render) as running:
        print(f"report: http://127.0.0.1:{running.server_address[1]}/  (Ctrl-C ends)", flush=True)
        try:
            running.serve_forever()
        except KeyboardInterrupt:
            print(file=sys.stderr)
