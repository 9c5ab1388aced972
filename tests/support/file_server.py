"""A server of files that misbehaves, and archives for it."""

import hashlib
import io
import tarfile
import threading
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from bench.data.public.download import (
    archive_path,
    fetch_collection,
)
from bench.data.public.fetch import Public
from bench.data.public.sources import SOURCES, Source

FILES = {f"top/images/{n}.png": bytes([n]) * 3000 for n in range(5)}
FILES["top/more/deep/masks.txt"] = b"mask"


def zipped(files: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", compression) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return out.getvalue()


def tarred(*members: tarfile.TarInfo, content: bytes = b"") -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as archive:
        for member in members:
            archive.addfile(member, io.BytesIO(content))
    return out.getvalue()


class Server(ThreadingHTTPServer):
    """Serves `content`; `mode` says how it misbehaves, `ranges` what was asked of it.

    `headers` replace those of an answer, or remove them where they are None.
    """

    content = zipped(FILES)
    mode = "honest"
    headers: dict[str, str | None]
    tag = '"1"'
    ranges: list[str | None]
    released: threading.Event


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        asked, mode = self.headers.get("Range"), self.server.mode
        self.server.ranges.append(asked)
        begin = int(asked.removeprefix("bytes=").removesuffix("-")) if asked else 0
        version = self.headers.get("If-Range", self.server.tag)
        if mode == "ignores ranges" or (version != self.server.tag and mode != "other version"):
            begin = 0
        if begin and begin >= len(self.server.content):
            self.send_error(416)
            return
        body = self.server.content[begin:]
        if mode == "wrong":
            body = b"x" * len(body)
        length = {"lies more": len(body) + 100, "lies less": len(body) - 100}.get(mode, len(body))
        last = len(self.server.content) - 1
        headers: dict[str, str | None] = {"ETag": self.server.tag, "Content-Length": str(length)}
        if begin:
            headers["Content-Range"] = f"bytes {begin}-{last}/{last + 1}"
        if mode == "cuts chunks":
            headers |= {"Transfer-Encoding": "chunked", "Content-Length": None}
        elif mode == "talks nonsense":
            headers["Content-Length"] = "plenty"
        elif mode == "tells no length":
            headers["Content-Length"] = None
        self.send_response(206 if begin else 200)
        for name, value in (headers | self.server.headers).items():
            if value is not None:
                self.send_header(name, value)
        self.end_headers()
        if mode == "cuts chunks":
            self.wfile.write(b"%x\r\n" % len(body))
        cut = mode in ("truncates", "stalls", "cuts chunks")
        self.wfile.write(body[: len(body) // 2] if cut else body)
        if mode == "stalls":
            self.wfile.flush()
            self.server.released.wait(10)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@contextmanager
def serve(monkeypatch: pytest.MonkeyPatch, cache: Path) -> Iterator[Server]:
    """A server whose `content` is the archive of the collection `toy`, and an empty cache."""
    found = Server(("127.0.0.1", 0), Handler)
    found.ranges, found.headers, found.released = [], {}, threading.Event()
    threading.Thread(target=found.serve_forever, kwargs={"poll_interval": 0.02}).start()
    monkeypatch.setenv("SAM_BENCH_CACHE", str(cache))
    monkeypatch.setitem(SOURCES, "toy", toy(found))
    yield found
    found.released.set()
    found.shutdown()
    found.server_close()


def toy(server: Server, **changes: object) -> Source:
    address = f"http://127.0.0.1:{server.server_port}/toy.zip"
    settings = {"sha256": None, "limit": 1 << 20, **changes}
    file = Public(address, settings["sha256"], "none", settings["limit"])  # type: ignore[arg-type]
    return Source("http://example.org", "none", (file,), inside=str(changes.get("inside", "")))


def quiet(done: int, whole: int | None) -> None:
    assert whole is None or done <= whole


def accepted(server: Server, name: str = "toy") -> Path:
    """Fetch a collection whose archive is accepted as the server has it."""
    return fetch_collection(name, quiet, [hashlib.sha256(server.content).hexdigest()])


def archive() -> Path:
    return archive_path(SOURCES["toy"].archives[0])


def left(tmp_path: Path) -> list[str]:
    """What lies in the cache, apart from archives."""
    folder = tmp_path / "cache" / "data"
    return sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
