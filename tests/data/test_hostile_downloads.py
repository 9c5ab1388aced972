"""What a server, an accident or somebody else puts in the place of a file is refused."""

import hashlib
import json
import os
import re
import shutil
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from file_server import FILES, Server, accepted, archive, left, quiet, serve, zipped

from bench.data.public import transfer
from bench.data.public.download import (
    check_collection,
    collection_folder,
    fetch_collection,
)
from bench.data.public.sources import SOURCES
from bench.errors import UserError


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Server]:
    """A server whose `content` is the archive of the collection `toy`."""
    with serve(monkeypatch, tmp_path / "cache") as found:
        yield found


def test_an_unknown_sha256_is_shown_and_accepted_once(server: Server, tmp_path: Path) -> None:
    sha256 = hashlib.sha256(server.content).hexdigest()
    for accept in ([], ["0" * 64]):
        with pytest.raises(UserError, match=f"has 15,688 bytes and the SHA-256 {sha256}.*once by"):
            fetch_collection("toy", quiet, accept)
        assert left(tmp_path) == []
        assert not archive().exists()
    assert len(server.ranges) == 1  # what waits to be accepted is not downloaded again
    folder = fetch_collection("toy", quiet, [sha256])
    assert json.loads((tmp_path / "cache" / "data" / "toy.json").read_text()) == {"files": 6}
    assert json.loads((tmp_path / "cache" / "accepted.json").read_text()) == {
        SOURCES["toy"].archives[0].address: sha256
    }
    folder.rename(tmp_path / "elsewhere")
    assert fetch_collection("toy", quiet).is_dir()
    assert len(server.ranges) == 1


def test_an_accepted_sha256_holds_from_then_on(server: Server, tmp_path: Path) -> None:
    folder = accepted(server)
    archive().unlink()
    assert check_collection("toy").sound  # the archive need not be kept
    folder.rename(tmp_path / "elsewhere")
    server.content = zipped({**FILES, "top/new.png": b"new"})
    sha256 = hashlib.sha256(server.content).hexdigest()
    with pytest.raises(UserError, match=rf"not the accepted file .*{sha256}.*--accept-hash SHA256"):
        fetch_collection("toy", quiet)
    assert list(archive().parent.iterdir()) == []
    assert (fetch_collection("toy", quiet, [sha256]) / "new.png").is_file()
    shutil.rmtree(collection_folder("toy"))
    assert fetch_collection("toy", quiet).is_dir()


def test_a_file_that_is_in_the_cache_already_must_be_accepted_too(server: Server) -> None:
    archive().parent.mkdir(parents=True)
    archive().write_bytes(server.content)
    with pytest.raises(UserError, match="then accept it once by 'sam-bench data fetch toy --acc"):
        fetch_collection("toy", quiet)
    assert accepted(server).is_dir()
    assert server.ranges == []


@pytest.mark.parametrize("text", ["{", "[]", '{"a": 1}', "[" * 9999, '{"a": "\x00"}'])
def test_damaged_accepted_sums_are_told(server: Server, tmp_path: Path, text: str) -> None:
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "accepted.json").write_text(text)
    with pytest.raises(UserError, match=r"accepted.json' is damaged .*: remove it, and accept"):
        accepted(server)


HEADERS: dict[str, tuple[dict[str, str | None], str]] = {
    "no range": ({"Content-Range": None}, "it sends the range ''"),
    "another start": ({"Content-Range": "bytes 0-15687/15688"}, "from 7844 on, it sends the range"),
    "another end": ({"Content-Range": "bytes 7844-15686/15687"}, "it sends the range"),
    "another total": ({"Content-Range": "bytes 7844-15687/99999"}, "it sends the range"),
    "a huge range": ({"Content-Range": "bytes 7844-" + "9" * 5000 + "/*"}, "it sends the range"),
    "nonsense": ({"Content-Range": "all of it"}, "it sends the range 'all of it'"),
    "another version": ({"ETag": '"2"'}, "second part of another version"),
    "compressed": ({"Content-Encoding": "gzip"}, "in the encoding 'gzip'"),
    "a web page": ({"Content-Type": "text/html; charset=x"}, "it sends a web page"),
}


@pytest.mark.parametrize("name", HEADERS)
def test_a_second_half_that_does_not_fit_is_refused(
    server: Server, name: str, tmp_path: Path
) -> None:
    server.mode = "truncates"
    with pytest.raises(UserError, match="run the command again to continue"):
        fetch_collection("toy", quiet)
    server.mode = "other version"
    server.headers, words = HEADERS[name]
    with pytest.raises(UserError, match=re.escape(words)):
        accepted(server)
    assert list(archive().parent.iterdir()) == []
    server.mode, server.headers = "honest", {}
    assert accepted(server).is_dir()
    assert server.ranges == [None, "bytes=7844-", None]


@pytest.mark.parametrize("tag", ['"2"', 'W/"2"', "", "\x80"])
def test_a_cut_file_is_not_joined_to_a_half_of_another(server: Server, tag: str) -> None:
    """Of the version that the server has now, nothing is known if its tag is weak."""
    server.mode = "truncates"
    server.headers = {"ETag": tag, "Last-Modified": None}
    with pytest.raises(UserError, match="run the command again to continue"):
        fetch_collection("toy", quiet)
    server.mode, server.headers, server.tag = "honest", {}, '"new"'
    server.content = zipped({**FILES, "top/new.png": b"new"})
    assert (accepted(server) / "new.png").is_file()
    assert archive().read_bytes() == server.content


def test_a_complete_part_of_unknown_size_is_fetched_again(server: Server) -> None:
    part = archive().with_name("toy.zip.part")
    part.parent.mkdir(parents=True)
    part.write_bytes(b"x" * len(server.content))
    part.with_name("toy.zip.part.json").write_text('{"version": "\\"1\\"", "size": null}')
    assert accepted(server).is_dir()
    assert server.ranges == [f"bytes={len(server.content)}-", None]


PAGES = {
    "page": b"<!DOCTYPE html><html><body>log in</body></html>",
    "comment": b" \n<!-- x -->\n<HTML>",
    "empty": b"",
    "not an archive": b'{"error": "not found"}',
    "cut archive": zipped(FILES)[:-30],
}


@pytest.mark.parametrize("name", PAGES)
@pytest.mark.parametrize("accept", [True, False])
def test_what_is_no_archive_is_refused_before_it_is_accepted(
    server: Server, name: str, accept: bool, tmp_path: Path
) -> None:
    server.content = PAGES[name]
    words = {"page": "a web page", "comment": "a web page", "empty": "an empty file"}
    with pytest.raises(UserError, match=words.get(name, "is not a readable archive")):
        accepted(server) if accept else fetch_collection("toy", quiet)
    assert [path for path in (tmp_path / "cache").rglob("*") if path.is_file()] == []


@pytest.mark.parametrize("name", ["toy.zip", "toy.zip.part", "toy.zip.part.json"])
@pytest.mark.parametrize("kind", ["link", "folder", "pipe", "broken link"])
def test_links_and_folders_in_the_cache_are_not_followed(
    server: Server, name: str, kind: str, tmp_path: Path
) -> None:
    mine = tmp_path / "mine"
    mine.write_bytes(b"my own file")
    path = archive().with_name(name)
    path.parent.mkdir(parents=True)
    if kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to(mine if kind == "link" else tmp_path / "nowhere")
    with pytest.raises(UserError, match="not a file, and is not used: remove it"):
        accepted(server)
    assert mine.read_bytes() == b"my own file"
    assert not (tmp_path / "nowhere").exists()


def test_a_link_in_place_of_the_folder_to_unpack_into_is_not_followed(
    server: Server, tmp_path: Path
) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "cache" / "data").mkdir(parents=True)
    (tmp_path / "cache" / "data" / ".toy.part").symlink_to(tmp_path / "mine")
    with pytest.raises(UserError, match="is a link, not a folder"):
        accepted(server)
    assert list((tmp_path / "mine").iterdir()) == []


def test_redirects_lead_to_the_file_but_not_away_from_encryption(server: Server) -> None:
    request = urllib.request.Request("https://example.org/a.zip")
    handler = transfer._OnlySafer()
    for url in ("http://example.org/a.zip", "ftp://example.org/a.zip", "file:///etc/passwd"):
        with pytest.raises(OSError, match="not encrypted"):
            handler.redirect_request(request, None, 302, "", {}, url)
    new = handler.redirect_request(request, None, 302, "", {}, "https://example.com/b.zip")
    assert new.full_url == "https://example.com/b.zip"
