"""Uploads, with a stock client of the protocol over real HTTP: whole, in pieces, after a cut, two at once."""

from __future__ import annotations

import hashlib
import http.client
import threading
from io import BytesIO
from typing import Any
from urllib.parse import urlparse

import pytest
from django.conf import settings
from django.test import Client
from pytest_django.live_server_helper import LiveServer
from tusclient.client import TusClient

from jobs.models import Upload
from portal.models import User

CONTENT = bytes(range(256)) * 9_000  # 2.2 MiB


@pytest.fixture
def headers(mei: User) -> dict[str, str]:
    """What a logged-in browser sends along."""
    client = Client()
    client.force_login(mei)
    token = "a" * 32
    return {
        "Cookie": f"{settings.SESSION_COOKIE_NAME}={client.session.session_key}; {settings.CSRF_COOKIE_NAME}={token}",
        "X-CSRFToken": token,
    }


def only() -> Upload:
    return Upload.objects.get()


def sender(server: LiveServer, headers: dict[str, str], **options: Any) -> Any:
    client = TusClient(f"{server.url}/jobs/uploads/", headers=headers)
    return client.uploader(
        file_stream=BytesIO(CONTENT),
        metadata={"filename": "data/digits.bin"},
        upload_checksum=True,
        **options,
    )


@pytest.mark.parametrize("chunk_size", [len(CONTENT), 300_000])
def test_a_stock_client_sends_a_file(
    live_server: LiveServer, headers: dict[str, str], chunk_size: int
) -> None:
    sender(live_server, headers, chunk_size=chunk_size).upload()
    assert only().path == "data/digits.bin"
    assert only().sha256 == hashlib.sha256(CONTENT).hexdigest()
    assert only().stored_at.read_bytes() == CONTENT


def test_a_stock_client_goes_on_after_a_stop(live_server: LiveServer, headers: dict[str, str]) -> None:
    first = sender(live_server, headers, chunk_size=400_000)
    first.upload(stop_at=800_000)
    assert only().offset == 800_000
    sender(live_server, headers, chunk_size=400_000, url=first.url).upload()
    assert only().sha256 == hashlib.sha256(CONTENT).hexdigest()


def begin_piece(
    server: LiveServer, headers: dict[str, str], url: str, *, sent: int
) -> http.client.HTTPConnection:
    """A PATCH that promises all of the file and has sent `sent` bytes of it."""
    where = urlparse(url)
    connection = http.client.HTTPConnection(str(where.hostname), where.port, timeout=20)
    connection.putrequest("PATCH", where.path)
    promised = {
        **headers,
        "Tus-Resumable": "1.0.0",
        "Upload-Offset": "0",
        "Content-Type": "application/offset+octet-stream",
        "Content-Length": str(len(CONTENT)),
    }
    for name, value in promised.items():
        connection.putheader(name, value)
    connection.endheaders(CONTENT[:sent])
    return connection


def until_stored(upload: Upload, size: int) -> None:
    """Wait until that many bytes are on disk, though not yet in the row."""
    deadline = threading.Event()
    for _try in range(400):
        if upload.stored_at.stat().st_size >= size:
            return
        deadline.wait(0.05)
    raise AssertionError("the bytes never came")


def test_what_arrived_before_a_cut_is_kept(live_server: LiveServer, headers: dict[str, str]) -> None:
    tus = sender(live_server, headers)
    url = tus.create_url()
    connection = begin_piece(live_server, headers, url, sent=1 << 20)
    until_stored(only(), 1 << 20)
    connection.close()
    rest = sender(live_server, headers, url=url, chunk_size=500_000, retries=20, retry_delay=0.2)
    rest.upload()
    assert only().sha256 == hashlib.sha256(CONTENT).hexdigest()


def test_two_senders_at_once_can_not_mix(live_server: LiveServer, headers: dict[str, str]) -> None:
    url = sender(live_server, headers).create_url()
    slow = begin_piece(live_server, headers, url, sent=1 << 20)
    until_stored(only(), 1 << 20)
    quick = begin_piece(live_server, headers, url, sent=len(CONTENT))
    assert quick.getresponse().status == 423
    slow.send(CONTENT[1 << 20 :])
    assert slow.getresponse().status == 204
    assert only().sha256 == hashlib.sha256(CONTENT).hexdigest()
