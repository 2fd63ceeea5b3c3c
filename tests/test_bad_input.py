"""Bad input at every field and parameter of every address that `tests.every_url` declares: never a 500.

Each address is asked by somebody who may: what is refused for its role would prove nothing. SQLite takes what
PostgreSQL refuses; `tests.asking.Watch` stands in for it.
"""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest
from django.test import Client
from pytest_django.fixtures import Settings

from portal.models import User
from tests.asking import (
    FORM,
    JSON,
    OCTETS,
    TUS,
    ask,
    browser_of,
    encoded,
    filled,
    good_body,
    is_tus,
    parameters_of,
    takes_pdf,
    undone,
    watching,
)
from tests.belongings import World
from tests.every_url import PARAMETERS, PEOPLE, ROWS, Row

TEXTS = (
    "", "a\0b", "a\nb", "a\u202eb", "\x1b[31m", "x" * 3000, "9" * 5000, str(10**30), str(2**63), "-1", "１２", "NaN", "1e400",
    "1 or 1=1", "../../etc/passwd", "<img src=x onerror=alert(1)>", "2026-02-30", "9999-12-31", "-password",
)  # fmt: skip
RAW = ("%ED%A0%80", "%FF%FE", "%00", "%", "+", "%u0041")  # a lone surrogate, no UTF-8, NUL, broken escapes
DEEP_LIST, DEEP_OBJECT = "[" * 10_000 + "]" * 10_000, '{"a":' * 10_000 + "1" + "}" * 10_000
JSON_VALUES: tuple[Any, ...] = (
    None, True, 0, -1, 1.5, 10**30, 2**63, 2**31, 10**4000, [], [[]], {}, {"a": 1}, "\ud800", [None], ["\ud800"], [["a\0b"]],
    {"\ud800": "\0"}, ["x"] * 1001,
)  # fmt: skip
BODIES = (
    "", "{", "[]", "7", "null", '"x"', '{"a": 1, "a": 2}', "NaN", '{"a": 1e400}', DEEP_LIST, DEEP_OBJECT, "[" * 900 + "]" * 900,
    b"\xff\xfe{}", b"\0", '{"\\ud800": 1}', '{"": 1}', '{"__proto__": {}}', "9" * 5000, b"x" * 5_000_000,
    b'{"a": "' + b"x" * 5_000_000 + b'"}',
)  # fmt: skip
KINDS = (
    "", "text/plain", "application/json; charset=nonsense", "application/x-www-form-urlencoded; charset=utf-7",
    "multipart/form-data", "multipart/form-data; boundary=x", "multipart/form-data; boundary=" + "x" * 300, "nonsense", "a/b/c; ;=",
)  # fmt: skip
IDS = (
    "abc",
    "1 or 1=1",
    str(2**63),
    str(2**31),
    "9" * 18,
    "9" * 400,
    "9" * 5000,
    "-1",
    "0",
    "a\0b",
    "１２",
    "a\u202eb",
    "..",
    "%",
    "x" * 3000,
)
HEADERS = (
    "Upload-Length", "Upload-Metadata", "Upload-Offset", "Upload-Checksum", "Upload-Defer-Length", "Upload-Concat",
    "X-HTTP-Method-Override", "Tus-Resumable", "Content-Length",
)  # fmt: skip
HEADERS_OF = {
    "POST": {"Upload-Length": "3", "Upload-Metadata": "filename ZGF0YS5jc3Y="},
    "PATCH": {"Upload-Offset": "0"},
}
CHECKSUMS = (
    "sha1 =",
    "sha256 !!",
    "md5 eA==",
    "sha256 eA==",
    "filename /w==",
    "filename =",
    ",,,",
    "PATCH",
    "DELETE",
)
NAMES = (
    "../../etc/passwd",
    "C:\\x",
    "-rf",
    ".ssh/authorized_keys",
    "CON",
    "x" * 300,
    "a\0b",
    "a\u202eb",
    "",
    "/",
    "a//b",
    "a/" * 17,
    "~",
    "\ud7ff",
)


def who_may(row: Row, world: World) -> User:
    return world.people[next(name for name in PEOPLE if row.answers[name] < 400)]


def url_of(row: Row, world: World) -> str:
    return filled(row.address, world.optics.values(row.address) if parameters_of(row.address) else {})


def tried(client: Client, method: str, url: str, body: Any = None, **more: Any) -> Iterator[str]:
    """Ask, and undo it; say what broke, if anything."""
    with undone(), watching():
        if "content_type" in more:
            answer = client.generic(method, url, body, **more)
        else:
            answer = ask(client, method, url, body, **more)
        b"".join(answer)
    if answer.status_code >= 500:
        error = getattr(answer, "exc_info", None)
        yield f"{answer.status_code} at {method} {url[:200]} {str(body)[:200]!r} {more}: {error and error[1]!r}"


READ = [row for row in ROWS if row.method == "GET"]
SENT = [
    row
    for row in ROWS
    if (row.method in ("POST", "PATCH") or (row.is_api and row.method == "PUT"))
    and not is_tus(row)
    and not takes_pdf(row)
    and row.address != "/accounts/logout/"
]


@pytest.mark.parametrize("row", [row for row in READ if row.address in PARAMETERS], ids=str)
def test_in_the_query(row: Row, world: World) -> None:
    client, url = browser_of(who_may(row, world)), url_of(row, world)
    values = [*(quote(text) for text in TEXTS), *RAW]
    names = PARAMETERS[row.address]
    queries = [f"{name}={value}" for name in names for value in values]
    queries += [f"{name}[]=1&{name}=1&{name}=2" for name in names] + [
        "%00=1",
        "%FF=%FF",
        "=",
        "&&",
        "a=1&" * 3000,
    ]
    broken = [fault for query in queries for fault in tried(client, "GET", f"{url}?{query}")]
    assert not broken


@pytest.mark.parametrize("row", SENT, ids=str)
def test_in_each_field(row: Row, world: World) -> None:
    who = who_may(row, world)
    client, url = browser_of(who), url_of(row, world)
    good = good_body(row, world.optics, who)
    assert good is not None, f"{row} has no good body in tests/asking.py"
    values: tuple[Any, ...] = (*TEXTS, *JSON_VALUES) if row.is_api else TEXTS
    bodies: list[Any] = [{**good, name: value} for name in good for value in values]
    bodies += [{other: value for other, value in good.items() if other != name} for name in good]
    bodies += [{**good, "unknown": "x"}, {**good, "\ud800" if row.is_api else "a\0": "x"}]
    bodies += [with_raw(good, name, raw) for name in good for raw in RAW if not row.is_api]
    bodies += [json.dumps({**good, name: 0}).replace(f'"{name}": 0', f'"{name}": {raw}')
               for name in good for raw in ("NaN", "-Infinity", "1e400", DEEP_LIST) if row.is_api]  # fmt: skip
    broken = [fault for body in bodies for fault in tried(client, row.method, url, body)]
    assert not broken


def with_raw(good: dict[str, Any], name: str, raw: str) -> str:
    others = {other: value for other, value in good.items() if other != name}
    return f"{encoded(others, FORM)}&{name}={raw}"


@pytest.mark.parametrize("row", SENT, ids=str)
def test_as_the_whole_body(row: Row, world: World) -> None:
    client, url = browser_of(who_may(row, world)), url_of(row, world)
    broken = [fault for body in BODIES for fault in tried(client, row.method, url, body)]
    for kind in KINDS:
        broken += tried(client, row.method, url, b"--x\r\nfoo", content_type=kind)
    broken += tried(client, row.method, url, "a=1&" * 3000, content_type=FORM)
    broken += tried(
        client, row.method, url, "{}", content_type=JSON, headers={"Accept": "text/html; q=nonsense"}
    )
    broken += tried(client, row.method, url, "{}", content_type=JSON, headers={"Accept-Language": "x" * 5000})
    assert not broken


def test_in_each_address(world: World) -> None:
    broken: list[str] = []
    for row in (row for row in ROWS if parameters_of(row.address)):
        client, values = browser_of(who_may(row, world)), world.optics.values(row.address)
        for name in parameters_of(row.address):
            for bad in IDS:
                broken += tried(client, row.method, filled(row.address, {**values, name: bad}), headers=TUS)
    assert not broken


@pytest.mark.parametrize("method", list(HEADERS_OF))
def test_in_the_headers_of_uploads(method: str, world: World) -> None:
    client = browser_of(world.people["mei"])
    url = "/api/v1/uploads/" if method == "POST" else f"/api/v1/uploads/{world.optics.upload.pk}"
    texts = [text.encode().decode("latin-1") for text in (*TEXTS, *CHECKSUMS)]
    odd = [(name, text) for name in HEADERS for text in texts]
    odd += [("Upload-Metadata", f"filename {b64encode(name.encode()).decode()}") for name in NAMES]
    broken = [
        fault
        for name, text in odd
        for fault in tried(
            client,
            method,
            url,
            b"1,2",
            content_type=OCTETS,
            headers={**TUS, **HEADERS_OF[method], name: text},
        )
    ]
    assert not broken


ODD_HEADERS = (
    {"Accept": "text/html, \x01", "Accept-Language": "zh-" + "x" * 600, "Range": "bytes=9-1"},
    {"HX-Request": "true", "If-None-Match": "\xff", "If-Modified-Since": "9" * 400},
)


def test_odd_headers_are_no_mistake_of_ours(world: World) -> None:
    broken: list[str] = []
    for row in READ:
        client, url = browser_of(who_may(row, world)), url_of(row, world)
        for headers in ODD_HEADERS:
            broken += tried(client, "GET", url, headers=headers)
    assert not broken


def test_a_mistake_of_ours_is_found(world: World, settings: Settings) -> None:
    """Or the tests above would pass whatever breaks."""
    settings.ROOT_URLCONF = "tests.test_bad_input"
    assert list(tried(browser_of(world.people["mei"]), "GET", "/"))


urlpatterns: list[Any] = []
handler404 = "nothing.that.is"
