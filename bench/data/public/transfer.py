"""Transfer a file by HTTP: what arrives is the file that was asked for, or is refused."""

import http.client
import json
import re
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from bench.errors import UserError
from bench.files import parse_json, write_atomic

PART = 1 << 20  # largest number of bytes read at once
TIMEOUT_S = 30.0  # without receiving a byte
GIB = 1 << 30
_PAGE = re.compile(rb"\s*(<!--.*?-->\s*)*<(!doctype\s+html|html|head|body)\b", re.I | re.S)

Say = Callable[[int, int | None], None]  # bytes received, and the full size where known


@dataclass(frozen=True)
class Partial:
    """The part of a file that was received, and which version of the file it is of.

    Attributes:
        target: path of the whole file.
    """

    target: Path

    @property
    def path(self) -> Path:
        """The bytes received so far."""
        return self.target.with_name(self.target.name + ".part")

    @property
    def facts(self) -> Path:
        """What the server said: "version" (its ETag or date), and "size" in bytes or None."""
        return self.target.with_name(self.target.name + ".part.json")

    @property
    def size(self) -> int:
        """Bytes received so far."""
        return self.path.stat().st_size if self.path.exists() else 0

    def read_facts(self) -> tuple[str, int | None]:
        """Version and full size as the server stated them; "" and None where it did not."""
        try:
            facts = parse_json(self.facts.read_text())
            return str(facts["version"]), None if facts["size"] is None else int(facts["size"])
        except (OSError, ValueError, TypeError, LookupError):
            return "", None  # what cannot be read says nothing: the download starts again

    def remove(self) -> None:
        """Remove both files."""
        self.path.unlink(missing_ok=True)
        self.facts.unlink(missing_ok=True)


class _OnlySafer(urllib.request.HTTPRedirectHandler):
    """Follow redirects to https, and those to http only from http."""

    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, hdrs: Any, url: str) -> Any:
        if urlsplit(req.full_url).scheme == "https" and urlsplit(url).scheme != "https":
            raise urllib.error.URLError(f"it redirects to {url}, which is not encrypted")
        return super().redirect_request(req, fp, code, msg, hdrs, url)


def download(address: str, partial: Partial, say: Say, limit: int, checked: bool) -> None:
    """Receive what is missing of a file.

    A part is continued only if it is of the same version of the file, as far as the server says
    (If-Range), or if the whole file will be compared with a SHA-256.

    Args:
        address: URL of the file.
        partial: what was received earlier; afterwards it is complete.
        say: called after each piece with the bytes received and the full size, None where unknown.
        limit: largest number of bytes.
        checked: whether the SHA-256 of the file is known.

    Raises:
        UserError: the server sends too much, a web page, nothing, another part than the one asked
            for, or stops too early. The part is kept only in the last case.
        OSError, HTTPException: of the network and the disk; the part is kept.
    """
    version, size = partial.read_facts()
    have = partial.size
    if have and have == size:
        return
    if not (version or checked) or (size is not None and have > size):
        have = 0
    headers = {"Range": f"bytes={have}-"} if have else {}
    if have and version:
        headers["If-Range"] = version
    answer = _open(address, headers)
    if answer is None:  # nothing is missing, or the file is another one now
        if not checked:
            partial.remove()
            return download(address, partial, say, limit, checked)
        return
    with answer:
        have = have if answer.status == 206 else 0
        try:
            whole = _full_size(answer, have, version, size)
            _check_kind(answer)
        except UserError as error:
            partial.remove()
            raise _refused(address, str(error)) from error
        _check_size(address, partial, whole or 0, limit)
        facts = {"version": _version(answer), "size": whole}
        write_atomic(partial.facts, json.dumps(facts) + "\n")
        _receive(answer, address, partial, say, limit, have, whole)


def _open(address: str, headers: dict[str, str]) -> http.client.HTTPResponse | None:
    """The answer of a server; None if it has no such part of the file."""
    try:
        request = urllib.request.Request(address, headers=headers)
        opener = urllib.request.build_opener(_OnlySafer)
        answer: http.client.HTTPResponse = opener.open(request, timeout=TIMEOUT_S)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == 416 and headers:
            return None
        raise
    except ValueError as error:  # of an address to which a server redirects
        raise OSError(f"it leads to no address: {error}") from error
    return answer


def _receive(
    answer: http.client.HTTPResponse,
    address: str,
    partial: Partial,
    say: Say,
    limit: int,
    have: int,
    whole: int | None,
) -> None:
    beginning = b""
    with partial.path.open("ab" if have else "wb") as out:
        # What was received is kept, so that a server that stops loses nothing.
        while part := answer.read1(PART):
            beginning = beginning or (part[:1000] if not have else b"-")
            if _PAGE.match(beginning):
                partial.remove()
                raise _refused(address, "it sends a web page")
            have += len(part)
            _check_size(address, partial, have, limit)
            out.write(part)
            say(have, whole)
    if not have:
        partial.remove()
        raise _refused(address, "it sends an empty file")
    if whole is not None and have < whole:
        raise UserError(
            f"the download of {address} stopped after {have} of {whole} bytes: run the command"
            " again to continue"
        )


def _full_size(
    answer: http.client.HTTPResponse, have: int, version: str, size: int | None
) -> int | None:
    """Size of the whole file; UserError if the answer is not the part that was asked for."""
    if answer.status not in (200, 206):
        raise UserError(f"it answers with status {answer.status}")
    if answer.status == 200:
        return answer.length
    text = answer.headers.get("Content-Range", "")
    match = re.fullmatch(r"bytes (\d{1,19})-(\d{1,19})/(\d{1,19}|\*)", text.strip(), re.ASCII)
    first, last = (int(match[1]), int(match[2])) if match else (-1, -1)
    whole = int(match[3]) if match and match[3] != "*" else None
    length = answer.length if answer.length is not None else last + 1 - first
    if not have or first != have or last + 1 - first != length or whole not in (None, last + 1):
        raise UserError(f"asked for the bytes from {have} on, it sends the range '{text}'")
    other = _version(answer)
    if (version and other and other != version) or size not in (None, last + 1):
        raise UserError("it sends the second part of another version of the file")
    return last + 1


def _check_kind(answer: http.client.HTTPResponse) -> None:
    """Check that the body is a file and is sent as it is.

    Raises:
        UserError: it is a web page, or compressed.
    """
    encoding = answer.headers.get("Content-Encoding", "identity").strip().lower()
    if encoding not in ("", "identity"):
        raise UserError(f"it sends the file in the encoding '{encoding}', which was not asked for")
    if answer.headers.get_content_type() in ("text/html", "application/xhtml+xml"):
        raise UserError("it sends a web page")


def _version(answer: http.client.HTTPResponse) -> str:
    """The version of the file for If-Range: a strong ETag, else a date; "" if there is neither."""
    tag = answer.headers.get("ETag", "").strip()
    strong = tag if re.fullmatch(r'"[\x21\x23-\x7e]*"', tag) else ""
    date = answer.headers.get("Last-Modified", "").strip()
    return strong or (date if re.fullmatch(r"[\x20-\x7e]+", date) else "")


def _check_size(address: str, partial: Partial, size: int, limit: int) -> None:
    if size > limit:
        partial.remove()
        raise UserError(
            f"{address} sends {size} bytes or more, but the limit is {limit}:"
            " nothing was kept; look in a browser at what the address holds now"
        )


def _refused(address: str, reason: str) -> UserError:
    return UserError(
        f"cannot use what {address} sends ({reason}): nothing was kept; look in a browser at what"
        " the address holds now, then run the command again"
    )
