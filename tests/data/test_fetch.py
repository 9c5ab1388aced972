"""Fetching public collections: from servers that break off, and into full disks."""

import hashlib
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from file_server import FILES, Server, accepted, archive, left, quiet, serve, toy, zipped

from bench.cli import main
from bench.data.public import sources, transfer
from bench.data.public.download import (
    archive_path,
    check_collection,
    collection_folder,
    fetch_collection,
)
from bench.data.public.fetch import Public, fetch_file
from bench.data.public.sources import SOURCES
from bench.data.public.unpack import BadArchiveError
from bench.errors import UserError


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Server]:
    """A server whose `content` is the archive of the collection `toy`."""
    with serve(monkeypatch, tmp_path / "cache") as found:
        yield found


def test_a_collection_is_fetched_once_and_unwrapped(server: Server, tmp_path: Path) -> None:
    folder = accepted(server)
    found = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    assert found == {name.removeprefix("top/") for name in FILES}
    assert (folder / "images" / "3.png").read_bytes() == bytes([3]) * 3000
    assert accepted(server) == folder
    assert len(server.ranges) == 1
    assert left(tmp_path) == ["toy", "toy.json"]
    assert check_collection("toy").text == "6 files, toy.zip right"


def test_the_folder_that_is_asked_for_becomes_the_collection(
    server: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(SOURCES, "toy", toy(server, inside="more/deep"))
    assert [path.name for path in accepted(server).iterdir()] == ["masks.txt"]
    monkeypatch.setitem(SOURCES, "other", toy(server, inside="nowhere"))
    with pytest.raises(UserError, match="'other' holds no folder 'nowhere'"):
        fetch_collection("other", quiet)
    assert left(tmp_path) == ["toy", "toy.json"]
    assert len(server.ranges) == 1  # both come from one archive


@pytest.mark.parametrize("mode", ["truncates", "stalls", "cuts chunks"])
def test_what_breaks_off_goes_on_where_it_stopped(
    server: Server, mode: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(transfer, "TIMEOUT_S", 0.2)
    server.mode = mode
    with pytest.raises(UserError, match=r"run the command again to continue"):
        accepted(server)
    assert left(tmp_path) == []
    server.mode = "honest"
    assert accepted(server).is_dir()
    assert server.ranges == [None, f"bytes={len(server.content) // 2}-"]


def test_a_server_that_promises_more_than_there_is(server: Server) -> None:
    server.mode = "lies more"
    with pytest.raises(UserError, match=r"stopped after \d+ of \d+ bytes"):
        accepted(server)
    assert not archive().exists()


def test_a_server_that_promises_less_than_there_is(server: Server, tmp_path: Path) -> None:
    server.mode = "lies less"
    with pytest.raises(UserError, match="not a readable archive"):
        accepted(server)
    assert not archive().exists()
    assert left(tmp_path) == []
    server.mode = "honest"
    assert accepted(server).is_dir()


@pytest.mark.parametrize("mode", ["ignores ranges", "tells no length", "talks nonsense"])
def test_servers_that_cannot_resume_or_count_still_serve(server: Server, mode: str) -> None:
    path = archive()
    if mode == "ignores ranges":
        path.parent.mkdir(parents=True)
        path.with_name("toy.zip.part").write_bytes(server.content[:1000])
    server.mode = mode
    assert accepted(server).is_dir()
    assert path.read_bytes() == server.content


def test_more_than_belongs_there_is_not_kept(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(SOURCES, "toy", toy(server, limit=4000))
    for mode in ("honest", "tells no length"):
        server.mode = mode
        with pytest.raises(UserError, match="but the limit is 4000"):
            accepted(server)
        assert list(archive().parent.iterdir()) == []


def test_a_wrong_file_is_thrown_away(server: Server, tmp_path: Path) -> None:
    file = Public(SOURCES["toy"].archives[0].address, hashlib.sha256(b"right").hexdigest(), "none")
    with pytest.raises(UserError, match=r"SHA-256 differs.*or do something else"):
        fetch_file(file, tmp_path / "toy.zip", quiet, "do something else")
    assert list(tmp_path.iterdir()) == []
    server.mode = "wrong"
    with pytest.raises(UserError, match="not a readable archive"):
        accepted(server)


@pytest.mark.parametrize(
    "text", ["{", "[]", "{}", '{"files": "many"}', "[" * 9999, '{"files": 1e999}']
)
def test_a_damaged_record_is_told(server: Server, tmp_path: Path, text: str) -> None:
    (tmp_path / "cache" / "data").mkdir(parents=True)
    (tmp_path / "cache" / "data" / "toy.json").write_text(text)
    with pytest.raises(UserError, match=r"toy.json' is damaged .*: remove it and fetch again"):
        check_collection("toy")


def test_what_an_earlier_attempt_left_half_unpacked_is_not_taken_up(
    server: Server, tmp_path: Path
) -> None:
    half = tmp_path / "cache" / "data" / ".toy.part"
    half.mkdir(parents=True)
    (half / "stray.png").write_bytes(b"stray")
    assert not list(accepted(server).rglob("stray.png"))


def test_a_refused_archive_leaves_nothing(server: Server, tmp_path: Path) -> None:
    server.content = zipped({"good.png": b"good", "../bad.png": b"bad"})
    with pytest.raises(BadArchiveError, match="leads out of the folder"):
        accepted(server)
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
            accepted(server)
    assert left(tmp_path) == ["toy.json"]
    assert accepted(server).is_dir()
    assert len(server.ranges) == 1  # the archive was kept


def test_the_command_lists_fetches_and_checks(
    server: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    def told(*words: str, code: int = 0) -> str:
        assert main(["data", *words]) == code
        shown = capsys.readouterr()
        return " ".join((shown.out + shown.err).split())

    assert "toy: http://127.0.0.1" in told("list")
    assert "not here" in told("check", "toy")
    sha256 = hashlib.sha256(server.content).hexdigest()
    asked = told("fetch", "toy", code=2)
    assert asked.endswith(
        f"then accept it once by 'sam-bench data fetch toy --accept-hash {sha256}'"
    )
    wrong = told("fetch", "toy", "--accept-hash", "x", code=2)
    assert "'x' is not a SHA-256: give its 64 hexadecimal digits" in wrong
    assert str(collection_folder("toy")) in told("fetch", "toy", "--accept-hash", sha256.upper())
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
