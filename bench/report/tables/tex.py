"""Write any text for LaTeX so that it compiles with every engine; all escapes are made here."""

import re
import unicodedata

# Characters that pdfLaTeX may lack are written with this macro: the character where the engine
# reads Unicode (XeLaTeX, LuaLaTeX), else its number. A document may define it in another way.
DEFINITION = (
    r"\providecommand{\unicodetext}[2]{\ifdefined\Umathchar#1\else#2\fi}"
    " % XeLaTeX and LuaLaTeX show the character, pdfLaTeX its number"
)

_SPECIAL = {
    **{character: f"\\{character}" for character in "&%$#_{}"},
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    # In LaTeX's oldest and still default encoding, OT1, these print as other characters, ...
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\symbol{34}",  # ... and this one is a command in German documents.
    "—": "---",
}
_LIGATURES = re.compile(r"(?<=[-'`,!?])(?=[-'`,])")  # "--" would be one dash
# Combining accents and letters of Latin that OT1 has.
_ACCENTS = frozenset("\u0300\u0301\u0302\u0303\u0304\u0306\u0307\u0308\u030a\u030b\u030c\u0327")
_LETTERS = frozenset("ßæÆœŒøØłŁı")


def tex_text(text: str) -> str:
    """Text for the body of a LaTeX document, in one line, in which no character is a command.

    Line breaks and control characters become spaces. Characters other than ASCII and Latin letters
    with accents need `DEFINITION` before them.
    """
    line = "".join(c if c.isprintable() else " " for c in unicodedata.normalize("NFC", text))
    return "".join(map(_character, _LIGATURES.sub("\0", line))).replace("\0", "{}")


def tex_row(cells: list[str]) -> str:
    r"""One row of a `tabular`, from texts that are LaTeX already.

    A first cell that begins with a bracket or a star would be an argument of the `\\` before it.
    """
    line = " & ".join(cells)
    return ("{}" if line[:1] in ("[", "*") else "") + line + r" \\"


def tex_comment(text: str) -> str:
    """Text as a comment of one line."""
    return f"% {' '.join(text.split())}"


def tex_lines(lines: list[str]) -> str:
    """Lines of LaTeX as the text of a file, after `DEFINITION` where a line needs it."""
    needed = any(r"\unicodetext" in line for line in lines)
    return "\n".join([*([DEFINITION] if needed else []), *lines]) + "\n"


def _character(character: str) -> str:
    if character in _SPECIAL:
        return _SPECIAL[character]
    if character.isascii() or character in _LETTERS:
        return character
    parts = unicodedata.normalize("NFD", character)
    base, accents = parts[0], parts[1:]
    if base.isascii() and ord(character) < 0x180 and _ACCENTS.issuperset(accents):
        return character
    return rf"\unicodetext{{{character}}}{{[U+{ord(character):04X}]}}"
