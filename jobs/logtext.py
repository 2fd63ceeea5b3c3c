"""A program's output, made fit for a page: no escape codes, no control or bidirectional characters. Pure."""

import re
import unicodedata

ESCAPES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\-_])")
KEPT_CONTROLS = frozenset("\n\t")


def clean(data: bytes) -> str:
    """Text of `data` (UTF-8, whatever can't be read replaced); a carriage return overwrites its line, as on a terminal."""
    text = ESCAPES.sub("", data.decode("utf-8", "replace")).replace("\r\n", "\n")
    lines = (line.rstrip("\r").rpartition("\r")[2] for line in text.split("\n"))
    return "".join(char for char in "\n".join(lines) if char in KEPT_CONTROLS or not _is_control(char))


def whole_characters(data: bytes) -> bytes:
    """`data` without a UTF-8 character that is cut off at its end: the rest of it comes with the next piece."""
    for missing in range(1, min(4, len(data) + 1)):
        lead = data[-missing]
        if lead & 0xC0 == 0x80:
            continue
        needed = 1 if lead < 0x80 else 2 if lead < 0xE0 else 3 if lead < 0xF0 else 4
        return data[:-missing] if needed > missing else data
    return data


def _is_control(char: str) -> bool:
    """Cc: control, Cf: formatting (bidirectional marks among them), Cs: lone surrogates, Co: private use."""
    return unicodedata.category(char) in {"Cc", "Cf", "Cs", "Co"}
