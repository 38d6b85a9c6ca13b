"""Servers of S3, Google's and Azure's storage on the loopback address, and what can go wrong on the way to one."""

import itertools
import json
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from moto.server import ThreadedMotoServer

from sweep.store.object_stores import client

_buckets = itertools.count()
_BUSY = b"HTTP/1.1 503 Slow Down\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
# Of Azure's server; the key is any, in base 64.
_ACCOUNT, _KEY = "secateur", "c2VjcmV0"
FAULTS = ("refuse", "hang", "error")


class Way:
    """A way to a server that works, or has one of the faults: it refuses, says nothing, or says 503."""

    def __init__(self, port):
        self.port, self.fault = port, None
        self._open = set()
        self._listen(0)

    def _listen(self, port):
        self._socket = socket.create_server(("127.0.0.1", port))
        self.own = self._socket.getsockname()[1]
        threading.Thread(target=self._accept, args=(self._socket,), daemon=True).start()

    def breaks(self, fault):
        """From now on, on connections that are open too; None: works again."""
        was, self.fault = self.fault, fault
        if fault == "refuse":
            # A thread that waits for a connection keeps the port open.
            self._socket.shutdown(socket.SHUT_RDWR)
            self._socket.close()
        elif was == "refuse":
            self._listen(self.own)
        for each in list(self._open):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def _accept(self, listening):
        while True:
            try:
                client, _ = listening.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client):
        self._open.add(client)
        with client, suppress(OSError):
            if self.fault == "hang":
                while client.recv(65536):
                    pass
            elif self.fault == "error":
                client.recv(65536)
                client.sendall(_BUSY)
            else:
                with socket.create_connection(("127.0.0.1", self.port)) as server:
                    self._open.add(server)
                    threading.Thread(target=self._pass, args=(server, client), daemon=True).start()
                    self._pass(client, server)
        self._open.discard(client)

    def _pass(self, one, other):
        with suppress(OSError):
            while data := one.recv(65536):
                other.sendall(data)
            other.shutdown(socket.SHUT_WR)
        self._open.discard(one)


@contextmanager
def s3():
    """A server; gives its port."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        yield server.get_host_and_port()[1]
    finally:
        server.stop()


@contextmanager
def gs():
    """A server, in a process of its own: pyarrow lets no thread run while it reads; gives its port."""
    program = Path(sys.executable).with_name("gcp-storage-emulator")
    with _program(program, "start", "--in-memory", "--host=127.0.0.1", "--port={port}") as port:
        yield port


@contextmanager
def az():
    """A server; gives its port."""
    own = Path(__file__).parent.parent / ".azurite" / "node_modules" / ".bin" / "azurite-blob"
    program = own if own.exists() else shutil.which("azurite-blob")
    if program is None:
        pytest.skip("no azurite-blob on this machine: .ci/run installs it where npm is")
    words = ("--silent", "--inMemoryPersistence", "--skipApiVersionCheck", "--disableTelemetry")
    # By default a request that meets the end of its connection is retried for seven seconds.
    words += ("--blobKeepAliveTimeout=60",)
    with _program(program, *words, "--blobHost=127.0.0.1", "--blobPort={port}") as port:
        yield port


@contextmanager
def _program(program, *words):
    """Run a server until it is no longer needed; gives the port that it listens at."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [str(program), *(word.format(port=port) for word in words)]
    environment = os.environ | {"AZURITE_ACCOUNTS": f"{_ACCOUNT}:{_KEY}"}
    with subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment
    ) as server:
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            with suppress(OSError), socket.create_connection(("127.0.0.1", port)):
                break
            if server.poll() is not None:
                pytest.skip(f"{program} does not run here: exit code {server.returncode}")
            time.sleep(0.05)
        try:
            yield port
        finally:
            server.terminate()


def environment(port, scheme="s3"):
    """What a process must know to use the server."""
    if scheme == "gs":
        return {"STORAGE_EMULATOR_HOST": f"http://127.0.0.1:{port}"}
    if scheme == "az":
        return {
            "AZURE_STORAGE_ACCOUNT": _ACCOUNT,
            "AZURE_STORAGE_KEY": _KEY,
            "AZURE_STORAGE_SERVICE_ENDPOINT": f"http://127.0.0.1:{port}/{_ACCOUNT}",
        }
    return {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
    }


def bucket(port, scheme="s3"):
    """The URI of a new bucket: each has a client of its own in a process; Azure's as the environment says."""
    name, server = f"bucket-{os.getpid()}-{next(_buckets)}", f"http://127.0.0.1:{port}"
    if scheme == "az":  # takes signed requests only
        client(scheme, name, "").create_dir(name)
        return f"{scheme}://{name}"
    request = {
        "s3": urllib.request.Request(f"{server}/{name}", method="PUT"),
        "gs": urllib.request.Request(
            f"{server}/storage/v1/b?project=p",
            json.dumps({"name": name}).encode(),
            {"Content-Type": "application/json"},
        ),
    }[scheme]
    urllib.request.urlopen(request).close()
    return f"{scheme}://{name}"
