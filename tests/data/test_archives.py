"""Unpacking archives that want to do harm, or are damaged."""

import functools
import gzip
import io
import shutil
import stat
import struct
import tarfile
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from file_server import tarred, zipped
from fuzzing import check_sentence, fuzz, spoiled
from hypothesis import strategies as st

from bench.data.public.unpack import BadArchiveError, Limits, unpack
from bench.errors import UserError


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
    assert not (tmp_path / "folder").exists()


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
        assert not (tmp_path / "folder").exists()
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


def _times_s(make: Callable[[], object]) -> float:
    began = time.process_time()
    make()
    return time.process_time() - began


def _empty_entries(count: int) -> bytes:
    """A zip archive that lists empty files, all of one name."""
    fields = 20, 0, 20, 0, *[0] * 4, 0, 0, 0, 1, *[0] * 6
    listing = (struct.pack("<4s4B4HL2L5H2L", b"PK\1\2", *fields) + b"a") * count
    return listing + struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 65535, 65535, len(listing), 0, 0)


def test_a_list_of_too_many_entries_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "many.zip").write_bytes(_empty_entries(800_000))
    refuse = functools.partial(_refused, tmp_path / "many.zip", "a header of 37600000 bytes")
    assert _times_s(refuse) < 1


@pytest.mark.slow
def test_archives_of_too_many_entries_are_refused_in_seconds(tmp_path: Path) -> None:
    (tmp_path / "many.zip").write_bytes(_empty_entries(700_000))
    with gzip.open(tmp_path / "many.tar.gz", "wb", compresslevel=1) as packed:
        for _ in range(25):
            packed.write(tarfile.TarInfo("a").tobuf() * 10_000)
    for name in ("many.zip", "many.tar.gz"):
        refuse = functools.partial(_refused, tmp_path / name, "or 200000 files")
        assert _times_s(refuse) < 20


def _refused(archive: Path, words: str) -> None:
    with pytest.raises(BadArchiveError, match=words):
        unpack(archive, archive.with_name("to"))
    assert not archive.with_name("to").exists()


def test_a_header_of_gigabytes_is_refused(tmp_path: Path) -> None:
    """tarfile reads the extended header of an entry at once."""
    header = tarfile.TarInfo("x")
    header.type, header.size = tarfile.XHDTYPE, 4 << 30
    (tmp_path / "a.tar").write_bytes(header.tobuf() + b"\0" * 2048)
    with pytest.raises(BadArchiveError, match="a header of 4294967296 bytes is longer than any"):
        unpack(tmp_path / "a.tar", tmp_path / "folder")


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
    with pytest.raises(BadArchiveError, match=r"1 files, .*: the first too many is 'b.png'"):
        unpack(archive, tmp_path / "other", Limits(entries=1))


def test_a_disk_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "good.zip").write_bytes(zipped({"n" * 300: b"too long a name for a file"}))
    with pytest.raises(UserError, match="free disk space or correct it, then run the command"):
        unpack(tmp_path / "good.zip", tmp_path / "folder")


def _archives() -> dict[str, bytes]:
    files = {"images/a.png": b"a" * 300, "é.txt": b"b", "deep/er/c": b""}
    member = tarfile.TarInfo("images/" + "long" * 60)
    member.size, member.pax_headers = 300, {"comment": "x"}
    kinds = {f"zip {kind}": zipped(files, kind) for kind in (0, zipfile.ZIP_DEFLATED)}
    for mode in ("w", "w:gz", "w:bz2", "w:xz"):
        out = io.BytesIO()
        with tarfile.open(fileobj=out, mode=mode, format=tarfile.PAX_FORMAT) as archive:
            archive.addfile(member, io.BytesIO(b"a" * 300))
            archive.addfile(tarfile.TarInfo("b"))
        kinds[mode] = out.getvalue()
    return kinds


ARCHIVES = _archives()


@fuzz(st.sampled_from(sorted(ARCHIVES)).flatmap(lambda name: spoiled(ARCHIVES[name])), examples=100)
def test_spoiled_archives_end_in_one_sentence(tmp_path: Path, raw: bytes) -> None:
    shutil.rmtree(tmp_path / "to", ignore_errors=True)
    (tmp_path / "archive").write_bytes(raw)
    try:
        unpack(tmp_path / "archive", tmp_path / "to", Limits(size=1 << 20))
    except UserError as error:
        check_sentence(error, "archive'")
    assert {path.name for path in tmp_path.iterdir()} <= {"archive", "to"}
