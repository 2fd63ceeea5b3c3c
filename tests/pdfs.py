"""PDFs as people attach them, and as nobody should."""

from __future__ import annotations

from io import BytesIO

from pypdf import PdfWriter
from pypdf.generic import DictionaryObject, NameObject, TextStringObject


def action(kind: str, key: str, text: str) -> DictionaryObject:
    """Something that a reader does when the document is opened."""
    return DictionaryObject({NameObject("/S"): NameObject(kind), NameObject(key): TextStringObject(text)})


def pdf(
    *, pages: int = 1, title: str = "", password: str = "", script: str = "", launch: bool = False
) -> bytes:
    """A small document; another `title` makes another file."""
    writer = PdfWriter()
    for _page in range(pages):
        writer.add_blank_page(200, 200)
    if title:
        writer.add_metadata({"/Title": title})
    if script:
        writer.root_object[NameObject("/OpenAction")] = action("/JavaScript", "/JS", script)
    if launch:
        writer.root_object[NameObject("/OpenAction")] = action("/Launch", "/F", "calc.exe")
    if password:
        writer.encrypt(password)
    content = BytesIO()
    writer.write(content)
    return content.getvalue()
