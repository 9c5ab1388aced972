"""The files of a foreign folder, and how a file that describes images finds one of them."""

import os
import posixpath
import re
from collections import defaultdict
from collections.abc import Iterable
from fnmatch import fnmatch
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any

from bench.data.folder.mask_names import is_image_folder, is_mask_folder
from bench.data.folder.sidecars import PARTS
from bench.errors import UserError
from bench.files import check_regular, is_text, parse_json, quote
from bench.wording import nfc

PICTURES = (
    *(".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".webp", ".gif", ".pgm", ".ppm", ".jp2"),
    *(".npy", ".nii", ".nii.gz", ".mat"),
)
# Of files that describe images, and of DICOM, whose files may also lack a suffix.
LABELS = (
    *(".json", ".geojson", ".xml", ".txt", ".csv", ".yaml", ".yml", ".npz"),
    *(".dcm", ".ima", ".dicom"),
)
MOST_FILES = 500_000
ARCHIVES = (".zip", ".tar", ".tgz", ".gz", ".bz2", ".xz", ".7z", ".rar")
_MAPS = re.compile("panoptic|pixelmaps", re.I)  # of COCO
_DOUBLE = (".nii.gz", ".ome.tif", ".ome.tiff")


class Source:
    """A folder that is only read.

    Attributes:
        root: the folder.
        files: each file by its path in the folder: "/" between names, Unicode in the form NFC, in
            natural order (2 before 10). Hidden files and those of systems (__MACOSX) are left out.
        hidden: number of files and folders that were left out for this reason.
        by_stem_only: number of images found with another suffix than their label says.

    Raises:
        UserError: it is not a folder, cannot be read, holds a link that leads out of it, or has
            more than `MOST_FILES` files.
    """

    def __init__(self, root: Path) -> None:
        if root.is_file():
            what = "an archive: unpack it first" if root.suffix in ARCHIVES else "a file"
            raise UserError(f"'{root}' is {what}; give the folder that holds images and labels")
        if not root.is_dir():
            raise UserError(f"there is no folder '{root}'; give the folder of images and labels")
        self.root = root
        self.hidden = self.by_stem_only = 0
        try:
            found = dict(self._walk(root.resolve()))
        except OSError as error:
            raise UserError(
                f"cannot read '{error.filename or root}' ({error.strerror}); correct its rights"
            ) from error
        self.files = dict(sorted(found.items(), key=lambda entry: natural(entry[0])))

    def _walk(self, root: Path) -> Iterable[tuple[str, Path]]:
        number = 0
        for folder, folders, names in os.walk(root, onerror=_raise):
            here = Path(folder)
            for name in folders:
                if (here / name).is_symlink():
                    raise _link(here / name)
            shown = [name for name in folders if not name.startswith((".", "__MACOSX"))]
            self.hidden += len(folders) - len(shown)
            folders[:] = shown
            for name in names:
                file = here / name
                if not is_text(name):
                    raise UserError(f"the name of {quote(file)} is not UTF-8; rename the file")
                if name.startswith(".") or name in ("Thumbs.db", "desktop.ini"):
                    self.hidden += 1
                    continue
                check_regular(file)
                if file.is_symlink() and not file.resolve().is_relative_to(root):
                    raise _link(file)
                if (number := number + 1) > MOST_FILES:
                    raise UserError(
                        f"'{root}' holds more than {MOST_FILES} files; give the folder of one "
                        "collection"
                    )
                yield nfc(file.relative_to(root).as_posix()), file

    @cached_property
    def pictures(self) -> list[str]:
        """Paths of the files that can be images or masks, by their suffix."""
        return [name for name in self.files if name.lower().endswith(PICTURES)]

    def with_suffix(self, *suffixes: str) -> list[str]:
        """Paths of the files with one of the suffixes, in lower case with the point."""
        return [name for name in self.files if name.lower().endswith(suffixes)]

    @cached_property
    def damaged(self) -> dict[str, None]:
        """JSON files that were looked at and are not valid, as keys."""
        return {}

    @cached_property
    def _documents(self) -> dict[str, Any]:
        return {}

    def json(self, name: str) -> Any:
        """The content of a JSON file, which is kept.

        Raises:
            UserError: it is not valid JSON.
        """
        if name not in self._documents:
            try:
                self._documents[name] = parse_json(self.text(name))
            except ValueError as error:
                raise UserError(
                    f"'{name}' is not valid JSON ({error}); get it again, or correct it"
                ) from error
        return self._documents[name]

    def json_like(self, name: str) -> Any:
        """The content of a JSON file; None where it is not valid."""
        try:
            return self.json(name)
        except UserError:
            self.damaged[name] = None
            return None

    def text(self, name: str) -> str:
        """The content of a UTF-8 text file, or one in the encoding of Windows.

        Raises:
            UserError: the file cannot be read.
        """
        try:
            content = self.files[name].read_bytes()
        except OSError as error:
            raise UserError(f"cannot read '{name}' ({error.strerror}); get it again") from error
        try:
            return content.decode("utf-8-sig")
        except UnicodeDecodeError:
            return content.decode("cp1252", errors="replace")

    def sample_json(self, suffixes: tuple[str, ...] = (".json",)) -> list[str]:
        """JSON files worth a look: of a folder with more than 20, the first two and the largest."""
        folders: dict[str, list[str]] = defaultdict(list)
        for name in self.with_suffix(*suffixes):
            folders[posixpath.dirname(name)].append(name)
        chosen: dict[str, None] = {}
        for names in folders.values():
            if len(names) <= 20:
                chosen |= dict.fromkeys(names)
                continue
            largest = max(names, key=lambda name: self.files[name].stat().st_size)
            chosen |= dict.fromkeys([*names[:2], largest])
        return list(chosen)

    def find_picture(self, label: str, near: str = "") -> str | None:
        """The image file that a label means; nothing outside the folder is ever looked at.

        The path itself counts first (from the folder `near`, then from the root), then the name of
        the file anywhere, then its stem anywhere. Large and small letters are the same. Files in
        folders of masks count only by their path.

        Args:
            label: path, name or stem of a file, of any system.
            near: folder of the file that holds the label, in the source.

        Raises:
            UserError: several files fit equally well.
        """
        label = nfc(label).replace("\\", "/").strip()
        for base in dict.fromkeys((near, "")):
            path = posixpath.normpath(posixpath.join(base, label)).casefold()
            if path in self._by_path:
                return self._by_path[path]
        name = posixpath.basename(label).casefold()
        for index, key in (
            (self._by_name, name),
            (self._by_stem, name),
            (self._by_stem, stem(name)),
        ):
            names = [other for other in index.get(key, []) if not _is_label(other, near)]
            close = [other for other in names if near and other.startswith(f"{near}/")]
            if len(close or names) > 1:
                raise UserError(
                    f"'{label}' could be '{names[0]}' or '{names[1]}'; rename or remove one of them"
                )
            if names:
                self.by_stem_only += index is self._by_stem and name.endswith(PICTURES)
                return (close or names)[0]
        return None

    @cached_property
    def _by_path(self) -> dict[str, str]:
        return {name.casefold(): name for name in self.pictures}

    @cached_property
    def _by_name(self) -> dict[str, list[str]]:
        return _index(self.pictures, lambda name: posixpath.basename(name).casefold())

    @cached_property
    def _by_stem(self) -> dict[str, list[str]]:
        return _index(self.pictures, lambda name: stem(name).casefold())


def _raise(error: OSError) -> None:
    raise error


def _index(names: Iterable[str], key: Any) -> dict[str, list[str]]:
    index: dict[str, list[str]] = defaultdict(list)
    for name in names:
        index[key(name)].append(name)
    return index


def _link(path: Path) -> UserError:
    return UserError(
        f"'{path}' is a link to a folder or to a file outside; put the files themselves there"
    )


def _is_label(path: str, near: str) -> bool:
    """Whether a file lies in a folder of masks; folders around `near` do not count."""
    around = len(near.split("/")) if near and path.startswith(f"{near}/") else 0
    for folder in reversed(path.split("/")[around:-1]):
        if is_mask_folder(folder) or _MAPS.search(folder):
            return True
        if is_image_folder(folder):
            return False
    return False


def natural(text: str) -> list[tuple[int, str]]:
    """A key for sorting, by which 2 comes before 10."""
    words = re.split(r"(\d+)", text)
    return [(int(word), "") if word.isdigit() else (-1, word) for word in words]


def stem(path: str) -> str:
    """The name of a file without folders and suffix; ".nii.gz" and ".ome.tif" are one suffix."""
    name = posixpath.basename(path)
    double = next((end for end in _DOUBLE if name.lower().endswith(end)), None)
    return name[: -len(double)] if double else PurePosixPath(name).stem


def part_of(path: str) -> str:
    """The part that a folder or file name says, such as "val" for "instances_val2017.json".

    The deepest name with exactly one part among its words counts; "" without one.
    """
    for name in reversed(path.split("/")):
        words = re.findall(r"[a-z]+", re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name).lower())
        parts = {PARTS[word] for word in words if word in PARTS}
        if len(parts) == 1:
            return parts.pop()
    return ""


def unique_names(paths: Iterable[str]) -> dict[str, str]:
    """A name for the image of each file: its stem, else its path where stems are not unique."""
    paths = list(paths)
    stems = _index(paths, lambda path: stem(path).casefold())
    names: dict[str, str] = {}
    taken: set[str] = set()
    for path in paths:
        name = stem(path)
        if len(stems[name.casefold()]) > 1:
            folder = posixpath.dirname(path).replace("/", "_")
            name = f"{folder}_{name}" if folder else name
        if name.casefold() in taken:  # a.png next to a.tif
            name = f"{name}_{posixpath.basename(path).rpartition('.')[2]}"
        taken.add(name.casefold())
        names[path] = name
    return names


def matches(path: str, glob: str) -> bool:
    """Whether a path, or its end, fits a glob; large and small letters are the same."""
    path, glob = path.casefold(), nfc(glob).casefold()
    return fnmatch(path, glob) or fnmatch(path, f"*/{glob}")
