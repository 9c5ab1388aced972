"""Fetching and unpacking public collections: from bad servers, out of bad archives."""

import hashlib
import io
import json
import stat
import tarfile
import threading
import urllib.request
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from bench.cli import main
from bench.data.public import fetch, sources
from bench.data.public.download import (
    archive_path,
    check_collection,
    collection_folder,
    fetch_collection,
)
from bench.data.public.fetch import Public, fetch_file
from bench.data.public.sources import SOURCES, Source
from bench.data.public.unpack import BadArchiveError, Limits, unpack
from bench.errors import UserError

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
    """Serves `content`; `mode` says how it misbehaves, `ranges` what was asked of it."""

    content = zipped(FILES)
    mode = "honest"
    ranges: list[str | None]
    released: threading.Event


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        asked, mode = self.headers.get("Range"), self.server.mode
        self.server.ranges.append(asked)
        begin = int(asked.removeprefix("bytes=").removesuffix("-")) if asked else 0
        begin = 0 if mode == "ignores ranges" else begin
        body = self.server.content[begin:]
        if mode == "wrong":
            body = b"x" * len(body)
        length = {"lies more": len(body) + 100, "lies less": len(body) - 100}.get(mode, len(body))
        self.send_response(206 if begin else 200)
        if mode == "cuts chunks":
            self.send_header("Transfer-Encoding", "chunked")
        elif mode == "talks nonsense":
            self.send_header("Content-Length", "plenty")
        elif mode != "tells no length":
            self.send_header("Content-Length", str(length))
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


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Server]:
    """A server whose `content` is the archive of the collection `toy`."""
    found = Server(("127.0.0.1", 0), Handler)
    found.ranges, found.released = [], threading.Event()
    threading.Thread(target=found.serve_forever, kwargs={"poll_interval": 0.02}).start()
    monkeypatch.setenv("SAM_BENCH_CACHE", str(tmp_path / "cache"))
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


def left(tmp_path: Path) -> list[str]:
    """What lies in the cache, apart from archives."""
    folder = tmp_path / "cache" / "data"
    return sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []


def test_a_collection_is_fetched_once_and_unwrapped(server: Server, tmp_path: Path) -> None:
    folder = fetch_collection("toy", quiet)
    found = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    assert found == {name.removeprefix("top/") for name in FILES}
    assert (folder / "images" / "3.png").read_bytes() == bytes([3]) * 3000
    assert fetch_collection("toy", quiet) == folder
    assert len(server.ranges) == 1
    assert left(tmp_path) == ["toy", "toy.json"]
    assert check_collection("toy").text == "6 files, toy.zip right"


def test_the_folder_that_is_asked_for_becomes_the_collection(
    server: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(SOURCES, "toy", toy(server, inside="more/deep"))
    assert [path.name for path in fetch_collection("toy", quiet).iterdir()] == ["masks.txt"]
    monkeypatch.setitem(SOURCES, "other", toy(server, inside="nowhere"))
    with pytest.raises(UserError, match="'other' holds no folder 'nowhere'"):
        fetch_collection("other", quiet)
    assert left(tmp_path) == ["toy", "toy.json"]
    assert len(server.ranges) == 1  # both come from one archive


@pytest.mark.parametrize("mode", ["truncates", "stalls", "cuts chunks"])
def test_what_breaks_off_goes_on_where_it_stopped(
    server: Server, mode: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(fetch, "TIMEOUT_S", 0.2)
    server.mode = mode
    with pytest.raises(UserError, match=r"run the command again to continue"):
        fetch_collection("toy", quiet)
    assert left(tmp_path) == []
    server.mode = "honest"
    assert fetch_collection("toy", quiet).is_dir()
    assert server.ranges == [None, f"bytes={len(server.content) // 2}-"]


def test_a_server_that_promises_more_than_there_is(server: Server) -> None:
    server.mode = "lies more"
    with pytest.raises(UserError, match=r"stopped after \d+ of \d+ bytes"):
        fetch_collection("toy", quiet)
    assert not archive_path(SOURCES["toy"].archives[0]).exists()


def test_a_server_that_promises_less_than_there_is(server: Server, tmp_path: Path) -> None:
    server.mode = "lies less"
    with pytest.raises(UserError, match="not a readable archive"):
        fetch_collection("toy", quiet)
    assert not archive_path(SOURCES["toy"].archives[0]).exists()
    assert left(tmp_path) == []
    server.mode = "honest"
    assert fetch_collection("toy", quiet).is_dir()


@pytest.mark.parametrize("mode", ["ignores ranges", "tells no length", "talks nonsense"])
def test_servers_that_cannot_resume_or_count_still_serve(server: Server, mode: str) -> None:
    archive = archive_path(SOURCES["toy"].archives[0])
    if mode == "ignores ranges":
        archive.parent.mkdir(parents=True)
        archive.with_name("toy.zip.part").write_bytes(server.content[:1000])
    server.mode = mode
    assert fetch_collection("toy", quiet).is_dir()
    assert archive.read_bytes() == server.content


def test_more_than_belongs_there_is_not_kept(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(SOURCES, "toy", toy(server, limit=4000))
    for mode in ("honest", "tells no length"):
        server.mode = mode
        with pytest.raises(UserError, match="but the limit is 4000"):
            fetch_collection("toy", quiet)
        assert list(archive_path(SOURCES["toy"].archives[0]).parent.iterdir()) == []


def test_a_wrong_file_is_thrown_away(server: Server, tmp_path: Path) -> None:
    file = Public(SOURCES["toy"].archives[0].address, hashlib.sha256(b"right").hexdigest(), "none")
    with pytest.raises(UserError, match=r"SHA-256 differs.*or do something else"):
        fetch_file(file, tmp_path / "toy.zip", quiet, "do something else")
    assert list(tmp_path.iterdir()) == []
    server.mode = "wrong"
    with pytest.raises(UserError, match="not a readable archive"):
        fetch_collection("toy", quiet)


def test_the_first_sha256_holds_from_then_on(server: Server, tmp_path: Path) -> None:
    folder = fetch_collection("toy", quiet)
    archive = archive_path(SOURCES["toy"].archives[0])
    record = json.loads((tmp_path / "cache" / "data" / "toy.json").read_text())
    assert record == {"sha256": {"toy.zip": hashlib.sha256(server.content).hexdigest()}, "files": 6}
    archive.unlink()
    assert check_collection("toy").sound  # the archive need not be kept
    folder.rename(tmp_path / "elsewhere")
    server.content = zipped({**FILES, "top/new.png": b"new"})
    with pytest.raises(UserError, match=r"SHA-256 differs.*remove .*toy.json first"):
        fetch_collection("toy", quiet)
    (tmp_path / "cache" / "data" / "toy.json").unlink()
    assert (fetch_collection("toy", quiet) / "new.png").is_file()


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"sha256": 1, "files": 2}'])
def test_a_damaged_record_is_told(server: Server, tmp_path: Path, text: str) -> None:
    (tmp_path / "cache" / "data").mkdir(parents=True)
    (tmp_path / "cache" / "data" / "toy.json").write_text(text)
    with pytest.raises(UserError, match=r"toy.json' is damaged .*: remove it and fetch again"):
        fetch_collection("toy", quiet)


def test_what_an_earlier_attempt_left_half_unpacked_is_not_taken_up(
    server: Server, tmp_path: Path
) -> None:
    half = tmp_path / "cache" / "data" / ".toy.part"
    half.mkdir(parents=True)
    (half / "stray.png").write_bytes(b"stray")
    assert not list(fetch_collection("toy", quiet).rglob("stray.png"))


@pytest.mark.parametrize(
    "name", ["../out.png", "a/../../out.png", "/out.png", "C:/out.png", "a\\..\\..\\out.png"]
)
def test_names_that_lead_out_of_the_folder_are_refused(tmp_path: Path, name: str) -> None:
    archives = {
        "bad.zip": zipped({"good.png": b"good", name: b"bad"}),
        "bad.tar.gz": tarred(tarfile.TarInfo("good.png"), tarfile.TarInfo(name)),
    }
    for kind, content in archives.items():
        (tmp_path / kind).write_bytes(content)
        with pytest.raises(BadArchiveError, match="leads out of the folder"):
            unpack(tmp_path / kind, tmp_path / "deep" / f"to {kind}")
    assert not [path for path in tmp_path.rglob("*") if "out" in path.name]


def test_links_and_devices_are_refused(tmp_path: Path) -> None:
    link = zipfile.ZipInfo("link")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "link.zip", "w") as archive:
        archive.writestr(link, "/etc")
    members = []
    for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE):
        members.append(tarfile.TarInfo("link"))
        members[-1].type, members[-1].linkname = kind, "/etc/passwd"
        (tmp_path / f"{kind.decode()}.tar.gz").write_bytes(tarred(members[-1]))
    archives = [*tmp_path.glob("*.zip"), *tmp_path.glob("*.tar.gz")]
    assert len(archives) == 5
    for path in archives:
        with pytest.raises(BadArchiveError, match="'link', which is a link or a device"):
            unpack(path, tmp_path / "folder")
    assert list((tmp_path / "folder").iterdir()) == []


def test_bombs_are_refused_before_they_are_written(tmp_path: Path) -> None:
    big = b"\0" * (4 << 20)
    (tmp_path / "bomb.zip").write_bytes(zipped({"bomb": big}, zipfile.ZIP_DEFLATED))
    member = tarfile.TarInfo("bomb")
    member.size = len(big)
    (tmp_path / "bomb.tar.gz").write_bytes(tarred(member, content=big))
    for name in ("bomb.zip", "bomb.tar.gz"):
        for limits in (Limits(ratio=100), Limits(ratio=10_000, size=len(big) - 1)):
            with pytest.raises(BadArchiveError, match="unpacks to more than"):
                unpack(tmp_path / name, tmp_path / "folder", limits)
        assert list((tmp_path / "folder").iterdir()) == []
    (tmp_path / "many.zip").write_bytes(zipped({str(n): b"" for n in range(11)}))
    with pytest.raises(BadArchiveError, match="or 10 files"):
        unpack(tmp_path / "many.zip", tmp_path / "many", Limits(entries=10))


def test_a_zip_that_understates_its_sizes_is_refused(tmp_path: Path) -> None:
    content = zipped({"bomb": b"\0" * 100_000}, zipfile.ZIP_DEFLATED)
    lie = content.replace((100_000).to_bytes(4, "little"), (10).to_bytes(4, "little"))
    assert lie != content
    (tmp_path / "lie.zip").write_bytes(lie)
    with pytest.raises(BadArchiveError, match="not a readable archive"):
        unpack(tmp_path / "lie.zip", tmp_path / "folder")
    assert sum(path.stat().st_size for path in (tmp_path / "folder").iterdir()) <= 10


def test_a_good_tar_is_unpacked(tmp_path: Path) -> None:
    folder, file = tarfile.TarInfo("./images"), tarfile.TarInfo("./images/a.png")
    folder.type, file.size = tarfile.DIRTYPE, 4
    (tmp_path / "good.tar.gz").write_bytes(tarred(folder, file, content=b"good"))
    unpack(tmp_path / "good.tar.gz", tmp_path / "folder")
    assert (tmp_path / "folder" / "images" / "a.png").read_bytes() == b"good"


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_damaged_and_ambiguous_archives_are_refused(tmp_path: Path) -> None:
    good = zipped({"a.png": b"a" * 1000}, zipfile.ZIP_STORED)
    flipped = good.replace(b"a" * 1000, b"a" * 999 + b"b")
    twice = io.BytesIO()
    with zipfile.ZipFile(twice, "w") as archive:
        archive.writestr("a.png", b"1")
        archive.writestr("a.png", b"2")
    member = tarfile.TarInfo("a.png")
    member.size = 5000
    cut = tarred(member, content=bytes(range(250)) * 20)[:-40]
    kinds = {"page": b"<html>log in</html>", "flipped": flipped, "cut": cut, "empty": b""}
    for name, content in kinds.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(BadArchiveError, match="not a readable archive"):
            unpack(tmp_path / name, tmp_path / f"to {name}")
    for name, content in {
        "twice": twice.getvalue(),
        "both": zipped({"a": b"", "a/b": b""}),
    }.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(BadArchiveError, match="holds one name twice"):
            unpack(tmp_path / name, tmp_path / f"to {name}")


def test_a_refusal_says_where_unpacking_stopped(tmp_path: Path) -> None:
    archive, folder = tmp_path / "a.zip", tmp_path / "folder"
    archive.write_bytes(zipped({"a.png": b"a", "b.png": b"b"}))
    folder.mkdir()
    (folder / "b.png").write_bytes(b"own")
    with pytest.raises(
        BadArchiveError, match=r"already has \('.*b.png'\): unpacking stopped there"
    ):
        unpack(archive, folder)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == {
        "a.png": b"a",
        "b.png": b"own",
    }
    with pytest.raises(BadArchiveError, match=r"1 files, .*: unpacking stopped at 'b.png'"):
        unpack(archive, tmp_path / "other", Limits(entries=1))


def test_a_refused_archive_leaves_nothing(server: Server, tmp_path: Path) -> None:
    server.content = zipped({"good.png": b"good", "../bad.png": b"bad"})
    with pytest.raises(BadArchiveError, match="leads out of the folder"):
        fetch_collection("toy", quiet)
    assert [path for path in (tmp_path / "cache").rglob("*") if path.is_file()] == []
    assert left(tmp_path) == []


def test_a_folder_that_cannot_be_put_in_place_is_told(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", full)
        with pytest.raises(UserError, match=r"No space left on device.*: free disk space"):
            fetch_collection("toy", quiet)
    assert left(tmp_path) == ["toy.json"]
    assert fetch_collection("toy", quiet).is_dir()
    assert len(server.ranges) == 1  # the archive was kept


def test_a_disk_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "good.zip").write_bytes(zipped({"n" * 300: b"too long a name for a file"}))
    with pytest.raises(UserError, match="free disk space or correct it, then run the command"):
        unpack(tmp_path / "good.zip", tmp_path / "folder")


def test_the_command_lists_fetches_and_checks(
    server: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    def told(*words: str, code: int = 0) -> str:
        assert main(["data", *words]) == code
        shown = capsys.readouterr()
        return " ".join((shown.out + shown.err).split())

    assert "toy: http://127.0.0.1" in told("list")
    assert "not here" in told("check", "toy")
    assert str(collection_folder("toy")) in told("fetch", "toy")
    assert "6 files, toy.zip right" in told("check", "toy")
    (collection_folder("toy") / "images" / "1.png").unlink()
    assert "5 files where 6 were unpacked" in told("check", "toy", code=1)
    archive_path(SOURCES["toy"].archives[0]).write_bytes(b"damaged")
    assert "toy.zip wrong SHA-256" in told("check", "toy", code=1)
    assert "name what to download: metaldam, uhcs, nasa_super" in told("fetch", code=2)
    assert "no public collection 'toi'. Did you mean 'toy'?" in told("fetch", "toi", code=2)
    by_hand = told("fetch", "synapse", code=2)
    assert "has no public address to fetch it from: register" in by_hand
    assert str(collection_folder("synapse")) in by_hand


def test_every_source_is_fetched_or_tells_how_to_get_it() -> None:
    for name, source in sources.SOURCES.items():
        assert name.isidentifier()
        assert bool(source.archives) != bool(source.how)
        assert source.licence
        for file in source.archives:
            assert file.address.startswith("https://")
            assert file.name.endswith(".zip")


@pytest.mark.network
@pytest.mark.parametrize("name", [name for name, source in SOURCES.items() if source.archives])
def test_every_address_gives_an_archive(name: str) -> None:
    for file in SOURCES[name].archives:
        with urllib.request.urlopen(file.address, timeout=60) as answer:
            assert answer.read(4) == b"PK\x03\x04"
