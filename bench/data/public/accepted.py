"""What the user accepted: SHA-256 sums that no publisher states, and licences of weights."""

import json
import re

from bench.errors import UserError
from bench.files import cache_folder, check_own_file, parse_json, write_atomic

NAME = "accepted.json"  # in the cache folder: address of each file to its SHA-256
LICENCES = "licences.json"  # likewise: a list of addresses


def licence_accepted(address: str) -> bool:
    """Whether the user accepted the licence at this address.

    Raises:
        UserError: the file of accepted licences is damaged.
    """
    return address in _licences()


def accept_licence(address: str) -> None:
    """Accept the licence at this address from now on.

    Raises:
        UserError: the file of accepted licences is damaged or cannot be written.
    """
    text = json.dumps(sorted({*_licences(), address}), indent=1)
    write_atomic(cache_folder() / LICENCES, text + "\n", durable=True)


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


def _licences() -> list[str]:
    path = cache_folder() / LICENCES
    check_own_file(path)
    try:
        addresses = parse_json(path.read_text())
        if not isinstance(addresses, list):
            raise ValueError("it holds no list")
        return [str(address) for address in addresses]
    except FileNotFoundError:
        return []
    except ValueError as error:
        raise UserError(
            f"'{path}' is damaged ({error}): remove it, and accept the licences again"
        ) from error
