"""Fetching checkpoints from servers that do what servers do."""

import hashlib
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from bench.cli import main
from bench.data.public.fetch import Public
from bench.errors import UserError
from bench.sam import backbone
from bench.sam.build import weights_path
from bench.sam.weights import cached_weights, fetch
from bench.spec import Task

CONTENT = bytes(range(256)) * 4096  # 1 MiB


class Server(ThreadingHTTPServer):
    """Serves CONTENT; `mode` says how it misbehaves, `ranges` what was asked of it."""

    mode = "honest"
    ranges: list[str | None]


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        asked = self.headers.get("Range")
        self.server.ranges.append(asked)
        begin = int(asked.removeprefix("bytes=").removesuffix("-")) if asked else 0
        mode = self.server.mode
        if mode == "missing":
            self.send_error(404)
            return
        if mode == "ignores ranges":
            begin = 0
        body = CONTENT[begin:]
        if mode == "wrong":
            body = b"x" * len(body)
        if begin >= len(CONTENT):
            self.send_error(416)
            return
        self.send_response(206 if begin else 200)
        self.send_header("Content-Length", str(len(body)))
        if begin:
            last = len(CONTENT) - 1
            self.send_header("Content-Range", f"bytes {begin}-{last}/{last + 1}")
        self.end_headers()
        self.wfile.write(body[: len(body) // 2] if mode == "truncates" else body)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Server]:
    found = Server(("127.0.0.1", 0), Handler)
    found.ranges = []
    threading.Thread(target=found.serve_forever, daemon=True).start()
    monkeypatch.setenv("SAM_BENCH_CACHE", str(tmp_path / "cache"))
    address = f"http://127.0.0.1:{found.server_port}/sam.pth"
    file = Public(address, hashlib.sha256(CONTENT).hexdigest(), "none")
    known = replace(backbone.get_backbone("sam_vit_b"), public=file)
    monkeypatch.setitem(backbone._BACKBONES.entries, "sam_vit_b", known)
    yield found
    found.shutdown()
    found.server_close()


def quiet(done: int, whole: int | None) -> None:
    assert whole is None or done <= whole


def test_a_fetched_file_is_found_as_the_backbones_weights(server: Server) -> None:
    path = fetch("sam_vit_b", quiet)
    assert path.read_bytes() == CONTENT
    assert weights_path(Task(2, 1024, "sam_vit_b")) == path
    fetch("sam_vit_b", quiet)
    assert len(server.ranges) == 1  # nothing is fetched twice
    assert [file.name for file in path.parent.iterdir()] == ["sam_vit_b.pth"]


def test_a_cut_download_goes_on_where_it_stopped(server: Server) -> None:
    server.mode = "truncates"
    with pytest.raises(UserError, match=r"run the command again to continue"):
        fetch("sam_vit_b", quiet)
    assert not cached_weights("sam_vit_b").exists()
    server.mode = "honest"
    assert fetch("sam_vit_b", quiet).read_bytes() == CONTENT
    assert server.ranges == [None, f"bytes={len(CONTENT) // 2}-"]


def test_a_server_without_ranges_starts_again(server: Server) -> None:
    partial = cached_weights("sam_vit_b").with_name("sam_vit_b.pth.part")
    partial.parent.mkdir()
    partial.write_bytes(CONTENT[:1000])
    server.mode = "ignores ranges"
    assert fetch("sam_vit_b", quiet).read_bytes() == CONTENT


def test_a_whole_part_needs_no_more(server: Server) -> None:
    partial = cached_weights("sam_vit_b").with_name("sam_vit_b.pth.part")
    partial.parent.mkdir()
    partial.write_bytes(CONTENT)
    assert fetch("sam_vit_b", quiet).read_bytes() == CONTENT


def test_a_wrong_file_is_thrown_away(server: Server) -> None:
    server.mode = "wrong"
    with pytest.raises(UserError, match="SHA-256 differs"):
        fetch("sam_vit_b", quiet)
    assert list(cached_weights("sam_vit_b").parent.iterdir()) == []


@pytest.mark.parametrize("mode", ["missing", "gone"])
def test_what_cannot_be_reached_is_told_in_a_sentence(
    server: Server, mode: str, capsys: pytest.CaptureFixture[str]
) -> None:
    server.mode = mode
    if mode == "gone":
        server.shutdown()
        server.server_close()
    assert main(["weights", "fetch", "sam_vit_b"]) == 2
    told = " ".join(capsys.readouterr().err.split())
    assert "cannot fetch http://127.0.0.1" in told
    assert "put it at" in told


def test_the_command_lists_fetches_and_checks(
    server: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["weights", "list"]) == 0
    assert "not downloaded" in capsys.readouterr().out
    assert main(["weights", "fetch", "sam_vit_b"]) == 0
    assert main(["weights", "check", "sam_vit_b"]) == 0
    assert "SHA-256 correct" in capsys.readouterr().out
    cached_weights("sam_vit_b").write_bytes(b"damaged")
    assert main(["weights", "check", "sam_vit_b"]) == 1
    assert main(["weights", "fetch"]) == 2
    assert main(["weights", "fetch", "sam_vit_x"]) == 2


def test_backbones_without_weights_tell_how_to_get_them(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("SAM_BENCH_CACHE", str(tmp_path))
    with pytest.raises(UserError, match=r"sam-bench weights fetch mobile_sam"):
        weights_path(Task(2, 1024, "mobile_sam"))
