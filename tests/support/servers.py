"""Real servers for the tests: files by HTTP with ranges and chosen faults, and a model hub's interface."""

import json
import re
import threading
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import unquote, urlsplit

import pytest

from vlmflow.data.fetch import http


@dataclass
class Faults:
    """What the server does wrong.

    Attributes:
        ranges: whether it answers requests for a part of a file with that part.
        cut: so many times, break the connection in the middle of an answer of more than `cut_from` bytes, at an address
            that ends with `cut_at`.
        status: path → status with which it answers instead, or it and headers: `(503, {"Retry-After": "9"})`.
        body: path → (headers, pieces of what it sends instead, with status 200); in chunks if no length is among the
            headers.
        gated: repository on the hub → the token without which its files are refused.
    """

    ranges: bool = True
    cut: int = 0
    cut_from: int = 1000
    cut_at: str = ""
    status: dict = field(default_factory=dict)
    body: dict = field(default_factory=dict)
    gated: dict = field(default_factory=dict)


class FileServer(ThreadingHTTPServer):
    """Serves a folder on a free port of this machine."""

    daemon_threads = True

    def __init__(self, folder, handler=None):
        self.folder = Path(folder)
        self.faults = Faults()
        self.requests = []
        self.sent = 0
        self.lock = threading.Lock()
        super().__init__(("127.0.0.1", 0), handler or FileHandler)

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}"

    def take_cut(self, size, path):
        """Whether this answer is to be cut."""
        with self.lock:
            if self.faults.cut > 0 and size > self.faults.cut_from and path.endswith(self.faults.cut_at):
                self.faults.cut -= 1
                return True
        return False


class FileHandler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def handle(self):
        with suppress(ConnectionError):  # who asked has heard enough
            super().handle()

    def do_HEAD(self):
        self.answer(head=True)

    def do_GET(self):
        self.answer(head=False)

    def answer(self, head):
        path = unquote(urlsplit(self.path).path)
        self.server.requests.append((self.command, path, self.headers.get("Range")))
        if (status := self.server.faults.status.get(path)) is not None:
            self.send_status(*(status if isinstance(status, tuple) else (status, {})))
            return
        if (body := self.server.faults.body.get(path)) is not None:
            self.send_body(*body)
            return
        file = (self.server.folder / path.lstrip("/")).resolve()
        if not file.is_relative_to(self.server.folder.resolve()) or not file.is_file():
            self.send_error(404)
            return
        self.send_file(file, head)

    def send_status(self, status, headers):
        self.send_response(status)
        for name, value in ({"Content-Length": "0"} | headers).items():
            self.send_header(name, value)
        self.end_headers()

    def send_body(self, headers, pieces):
        chunked = "Content-Length" not in headers
        self.send_response(200)
        for name, value in (headers | ({"Transfer-Encoding": "chunked"} if chunked else {})).items():
            self.send_header(name, value)
        self.end_headers()
        for piece in [*pieces, b""] if isinstance(pieces, list) else pieces:
            self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece) if chunked else piece)
            with self.server.lock:
                self.server.sent += len(piece)

    def send_file(self, file, head, headers=()):
        size = file.stat().st_size
        start, stop = 0, size
        wanted = re.fullmatch(r"bytes=(\d*)-(\d*)", self.headers.get("Range") or "")
        if wanted and self.server.faults.ranges:
            first, last = wanted.groups()
            start = int(first) if first else max(0, size - int(last))
            stop = min(size, int(last) + 1) if first and last else size
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{stop - 1}/{size}")
        else:
            self.send_response(200)
        self.send_header("Content-Length", str(stop - start))
        self.send_header("Accept-Ranges", "bytes" if self.server.faults.ranges else "none")
        for name, value in headers:
            self.send_header(name, value)
        self.end_headers()
        if head:
            return
        with file.open("rb") as content:
            content.seek(start)
            data = content.read(stop - start)
        if self.server.take_cut(len(data), urlsplit(self.path).path):
            data = data[: len(data) // 2]
            self.close_connection = True
        with self.server.lock:
            self.server.sent += len(data)
        self.wfile.write(data)


class HubHandler(FileHandler):
    """The part of the Hugging Face hub's interface that a download uses.

    Models lie in {folder}/{owner}/{name}, datasets in {folder}/datasets/{owner}/{name}.
    """

    COMMIT = "0123456789abcdef0123456789abcdef01234567"

    def answer(self, head):
        path = unquote(urlsplit(self.path).path)
        self.server.requests.append((self.command, path, self.headers.get("Range")))
        if (status := self.server.faults.status.get(path)) is not None:
            self.send_error(status)
        elif match := re.fullmatch(
            r"/api/(?:models/|(?=datasets/))((?:datasets/)?[^/]+/[^/]+)/(revision|tree)/(refs/pr/\d+|[^/]+)", path
        ):
            self.describe(*match.groups())
        elif match := re.fullmatch(r"/((?:datasets/)?[^/]+/[^/]+)/resolve/(refs/pr/\d+|[^/]+)/(.+)", path):
            repository, revision, name = match.groups()
            token, given = self.server.faults.gated.get(repository), self.headers.get("Authorization")
            if token is not None and given != f"Bearer {token}":
                # What a gated repository holds may be listed by all.
                self.refuse(401 if given is None else 403, "GatedRepo")
                return
            file = self.server.folder / repository / name
            if not file.is_file():
                self.refuse(404, "EntryNotFound")
                return
            commit = self.commit(revision)
            tag = f'"{commit[:8]}-{file.stat().st_size}-{name}"'
            self.send_file(file, head, [("ETag", tag), ("X-Repo-Commit", commit)])
        else:
            self.send_error(404)

    def commit(self, revision):
        return revision if re.fullmatch("[0-9a-f]{40}", revision) else self.COMMIT

    def describe(self, repository, kind, revision):
        folder = self.server.folder / repository
        if not folder.is_dir():
            self.refuse(404, "RepoNotFound")
            return
        files = sorted(file for file in folder.rglob("*") if file.is_file())
        names = [str(file.relative_to(folder)) for file in files]
        if kind == "revision":
            siblings = [{"rfilename": name} for name in names]
            name = repository.removeprefix("datasets/")
            content = {"id": name, "modelId": name, "sha": self.commit(revision), "siblings": siblings}
        else:
            content = [
                {"type": "file", "path": name, "size": file.stat().st_size, "oid": "0" * 40}
                for name, file in zip(names, files, strict=True)
            ]
        body = json.dumps(content).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def refuse(self, status, code):
        self.send_response(status)
        self.send_header("X-Error-Code", code)
        self.send_header("Content-Length", "0")
        self.end_headers()


@contextmanager
def serving(folder, handler=FileHandler):
    """A running `FileServer`."""
    server = FileServer(folder, handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()


@pytest.fixture
def server(tmp_path):
    """A server of the files in a folder of the test."""
    (tmp_path / "served").mkdir()
    with serving(tmp_path / "served") as server:
        yield server


@pytest.fixture
def short_waits(monkeypatch):
    """Broken connections are tried again almost at once."""
    monkeypatch.setattr(http, "WAIT", 0.01)
    monkeypatch.setattr("pooch.core.time", SimpleNamespace(sleep=lambda seconds: time.sleep(seconds / 100)))
