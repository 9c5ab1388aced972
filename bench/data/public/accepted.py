"""SHA-256 sums that the user accepted, for downloads whose publisher states none."""

import json
import re

from bench.errors import UserError
from bench.files import cache_folder, check_own_file, parse_json, write_atomic

NAME = "accepted.json"  # in the cache folder: address of each file to its SHA-256


def accepted_sha256(address: str) -> str | None:
    """The SHA-256 that was accepted for an address; None if there is none.

    Raises:
        UserError: the file of accepted sums is damaged.
    """
    return _read().get(address)


def accept_sha256(address: str, sha256: str) -> None:
    """Accept a SHA-256 for an address from now on, instead of an earlier one.

    Raises:
        UserError: the file of accepted sums is damaged or cannot be written.
    """
    sums = {**_read(), address: sha256}
    text = json.dumps(sums, indent=1, sort_keys=True)
    write_atomic(cache_folder() / NAME, text + "\n", durable=True)


def read_sha256(text: str) -> str:
    """A SHA-256 as typed, in lower case.

    Raises:
        UserError: it is not 64 hexadecimal digits.
    """
    word = text.strip().lower()
    if not re.fullmatch("[0-9a-f]{64}", word):
        raise UserError(f"'{text}' is not a SHA-256: give its 64 hexadecimal digits")
    return word


def _read() -> dict[str, str]:
    path = cache_folder() / NAME
    check_own_file(path)
    try:
        sums = parse_json(path.read_text())
        if not isinstance(sums, dict):
            raise ValueError("it holds no object")
        return {str(address): read_sha256(str(sums[address])) for address in sums}
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise UserError(
            f"'{path}' is damaged ({error}): remove it, and accept the files again that are fetched"
        ) from error
