"""Uploads, with raw requests: what is refused, what is kept, and that nothing mixes two senders."""

from __future__ import annotations

import base64
import fcntl
import hashlib
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from pytest_django.fixtures import Settings

from jobs import uploads
from jobs.models import JobFile, Upload
from portal.models import User
from tests.factories import JobFactory

URL = "/jobs/uploads/"
OCTETS = "application/offset+octet-stream"
V = {"Tus-Resumable": "1.0.0"}
NONE: dict[str, str] = {}


def b64(text: str | bytes) -> str:
    return base64.b64encode(text if isinstance(text, bytes) else text.encode()).decode()


def create(
    client: Client, path: str, size: int | str, body: bytes = b"", headers: dict[str, str] = NONE
) -> Any:
    return client.post(
        URL,
        body,
        content_type=OCTETS if body else "application/octet-stream",
        headers=V | {"Upload-Length": str(size), "Upload-Metadata": f"filename {b64(path)}"} | headers,
    )


def patch(client: Client, at: str, body: bytes, offset: int | str, headers: dict[str, str] = NONE) -> Any:
    return client.patch(at, body, content_type=OCTETS, headers=V | {"Upload-Offset": str(offset)} | headers)


def only() -> Upload:
    return Upload.objects.get()


@pytest.fixture
def browser(mei: User, client_for: Callable[[User], Client]) -> Client:
    return client_for(mei)


@pytest.fixture
def begun(browser: Client) -> str:
    """A file of ten bytes, none of them sent."""
    return str(create(browser, "data/digits.csv", 10)["Location"])


def test_it_says_what_it_can(browser: Client) -> None:
    answer = browser.options(URL)
    assert answer.status_code == 204
    assert answer["Tus-Version"] == "1.0.0"
    assert answer["Tus-Extension"] == "creation,creation-with-upload,checksum,expiration,termination"
    assert answer["Tus-Checksum-Algorithm"] == "sha256,sha1"
    assert int(answer["Tus-Max-Size"]) > 0


def test_a_file_in_two_pieces_is_whole(browser: Client, begun: str) -> None:
    first = patch(browser, begun, b"01234", 0)
    assert (first.status_code, first["Upload-Offset"]) == (204, "5")
    assert first["Upload-Expires"].endswith("GMT")
    assert patch(browser, begun, b"56789", 5)["Upload-Offset"] == "10"
    assert only().is_complete
    assert only().stored_at.read_bytes() == b"0123456789"
    assert only().sha256 == hashlib.sha256(b"0123456789").hexdigest()


def test_a_file_can_come_with_its_creation(browser: Client) -> None:
    answer = create(browser, "run.sh", 5, b"hello")
    assert (answer.status_code, answer["Upload-Offset"]) == (201, "5")
    assert only().sha256 == hashlib.sha256(b"hello").hexdigest()


def test_a_creation_with_a_damaged_piece_leaves_nothing(browser: Client) -> None:
    wrong = f"sha256 {b64(hashlib.sha256(b'other').digest())}"
    assert create(browser, "run.sh", 5, b"hello", {"Upload-Checksum": wrong}).status_code == 460
    assert not Upload.objects.exists()


def test_an_empty_file_is_complete_at_once(browser: Client) -> None:
    assert create(browser, "empty.txt", 0).status_code == 201
    assert only().is_complete
    assert only().stored_at.read_bytes() == b""


def test_after_a_restart_the_hash_is_that_of_the_file(browser: Client, begun: str) -> None:
    patch(browser, begun, b"01234", 0)
    uploads._hashers.clear()  # what a restart of the process does
    patch(browser, begun, b"56789", 5)
    assert only().sha256 == hashlib.sha256(b"0123456789").hexdigest()


def test_its_standing_can_be_asked(browser: Client, begun: str) -> None:
    patch(browser, begun, b"0123", 0)
    answer = browser.head(begun, headers=V)
    assert (answer.status_code, answer["Upload-Offset"], answer["Upload-Length"]) == (200, "4", "10")
    assert answer["Cache-Control"] == "no-store"


@pytest.mark.parametrize("offset", [3, 7, 10])
def test_a_piece_from_elsewhere_is_refused_and_told_where_to_go_on(
    browser: Client, begun: str, offset: int
) -> None:
    patch(browser, begun, b"01234", 0)
    answer = patch(browser, begun, b"xxx", offset)
    assert answer.status_code == 409
    assert "at byte 5" in answer.json()["detail"]
    assert only().stored_at.read_bytes() == b"01234"


def test_the_same_piece_twice_counts_once(browser: Client, begun: str) -> None:
    assert patch(browser, begun, b"01234", 0).status_code == 204
    assert patch(browser, begun, b"01234", 0).status_code == 409
    assert only().offset == 5


@pytest.mark.parametrize("algorithm", ["sha256", "sha1"])
def test_a_piece_with_the_right_checksum_is_kept(browser: Client, begun: str, algorithm: str) -> None:
    digest = hashlib.new(algorithm, b"01234").digest()
    answer = patch(browser, begun, b"01234", 0, headers={"Upload-Checksum": f"{algorithm} {b64(digest)}"})
    assert (answer.status_code, only().offset) == (204, 5)


def test_a_damaged_piece_leaves_no_trace(browser: Client, begun: str) -> None:
    patch(browser, begun, b"01234", 0)
    wrong = f"sha256 {b64(hashlib.sha256(b'56789').digest())}"
    answer = patch(browser, begun, b"5678X", 5, headers={"Upload-Checksum": wrong})
    assert answer.status_code == 460
    assert only().offset == 5
    assert patch(browser, begun, b"56789", 5, headers={"Upload-Checksum": wrong}).status_code == 204
    assert only().sha256 == hashlib.sha256(b"0123456789").hexdigest()


@pytest.mark.parametrize("checksum", ["md5 aaaa", "sha256", "sha256 !!!", f"sha256 {b64('short')}", ""])
def test_a_checksum_that_can_not_be_read_is_refused(browser: Client, begun: str, checksum: str) -> None:
    assert patch(browser, begun, b"01234", 0, headers={"Upload-Checksum": checksum}).status_code == 400
    assert only().offset == 0


def test_more_than_was_declared_is_refused(browser: Client, begun: str) -> None:
    assert patch(browser, begun, b"0123456789ABC", 0).status_code == 413
    assert create(browser, "run.sh", 3, b"hello").status_code == 413
    assert only().offset == 0


@pytest.mark.parametrize("size", ["", "-1", "abc", "1e3", "1_000", "１０", "10.5", "NaN", "+5"])
def test_a_size_that_is_no_number_is_refused(browser: Client, size: str) -> None:
    answer = create(browser, "a.txt", size)
    assert answer.status_code == 400
    assert "Upload-Length" in answer.json()["detail"]


@pytest.mark.parametrize("size", [str(10**15), str(10**30), "9" * 400])
def test_a_huge_size_is_refused_with_the_limit(browser: Client, size: str) -> None:
    answer = create(browser, "a.txt", size)
    assert answer.status_code == 413
    assert "GiB" in answer.json()["detail"]


def test_the_quota_is_taken_at_creation(browser: Client, settings: Settings) -> None:
    settings.UPLOAD_QUOTA_BYTES = 100
    assert create(browser, "a.bin", 60).status_code == 201
    answer = create(browser, "b.bin", 60)
    assert answer.status_code == 413
    assert "100" in answer.json()["detail"]
    only().delete()
    assert create(browser, "b.bin", 60).status_code == 201


def test_too_many_small_files_are_refused(browser: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uploads, "MAX_WAITING", 2)
    assert [create(browser, f"{n}.txt", 0).status_code for n in range(3)] == [201, 201, 413]


@pytest.mark.parametrize(
    "metadata",
    [
        "",
        "filename",
        "filename !!!!",
        "filename YQ",
        "filename //4=",
        f"name {b64('a')}",
        "filename YQ==,filename YQ==",
    ],
)
def test_metadata_that_can_not_be_read_is_refused(browser: Client, metadata: str) -> None:
    answer = create(browser, "x", 1, headers={"Upload-Metadata": metadata})
    assert answer.status_code == 400
    assert "Upload-Metadata" in answer.json()["detail"]


def test_a_bad_name_is_refused_in_words(browser: Client) -> None:
    answer = create(browser, "../../etc/passwd", 1)
    assert answer.status_code == 400
    assert "are not names" in answer.json()["detail"]
    assert not Upload.objects.exists()


def test_a_lone_surrogate_is_refused(browser: Client) -> None:
    raw = "a\ud800".encode("utf-8", "surrogatepass")
    assert create(browser, "x", 1, headers={"Upload-Metadata": f"filename {b64(raw)}"}).status_code == 400


def test_the_version_must_be_named(browser: Client) -> None:
    answer = browser.post(URL, headers={"Upload-Length": "5"})
    assert answer.status_code == 412
    assert answer["Tus-Version"] == "1.0.0"


def test_pieces_have_their_own_type(browser: Client, begun: str) -> None:
    answer = browser.patch(begun, b"01234", content_type="text/plain", headers=V | {"Upload-Offset": "0"})
    assert answer.status_code == 415


@pytest.mark.parametrize("deed", ["head", "patch", "delete"])
@pytest.mark.parametrize("who", ["ivo", "otto"])
def test_someone_elses_upload_does_not_exist(
    begun: str, who: str, deed: str, request: pytest.FixtureRequest, client_for: Callable[[User], Client]
) -> None:
    stranger = client_for(request.getfixturevalue(who))

    def ask(at: str) -> Any:
        headers = V | {"Upload-Offset": "0"}
        return stranger.generic(deed.upper(), at, b"x", content_type=OCTETS, headers=headers)

    theirs, missing = ask(begun), ask(f"{URL}00000000-0000-4000-8000-000000000000")
    assert theirs.status_code == missing.status_code == 404
    assert theirs.content == missing.content
    assert only().offset == 0


def test_who_may_not_submit_can_not_upload(fay: User, client_for: Callable[[User], Client]) -> None:
    answer = create(client_for(fay), "a.txt", 1)
    assert answer.status_code == 403
    assert answer.json()["detail"]


def test_who_is_logged_out_is_told_so(db: None, client: Client) -> None:
    answer = create(client, "a.txt", 1)
    assert answer.status_code == 401
    assert "logged out" in answer.json()["detail"]


def test_a_foreign_page_can_not_upload(mei: User) -> None:
    careful = Client(enforce_csrf_checks=True)
    careful.force_login(mei)
    assert create(careful, "a.txt", 1).status_code == 403
    assert not Upload.objects.exists()


def test_a_get_can_not_be_turned_into_a_deed(browser: Client, begun: str) -> None:
    assert browser.get(begun, headers=V | {"X-HTTP-Method-Override": "DELETE"}).status_code == 405
    assert Upload.objects.exists()


def test_a_post_may_stand_for_a_patch(browser: Client, begun: str) -> None:
    headers = V | {"Upload-Offset": "0", "X-HTTP-Method-Override": "PATCH"}
    answer = browser.post(begun, b"01234", content_type=OCTETS, headers=headers)
    assert (answer.status_code, only().offset) == (204, 5)


def test_an_upload_can_be_removed(browser: Client, begun: str) -> None:
    patch(browser, begun, b"01234", 0)
    stored_at = only().stored_at
    assert browser.delete(begun, headers=V).status_code == 204
    assert not Upload.objects.exists()
    assert not stored_at.exists()


def test_a_file_that_a_job_waits_for_stays(browser: Client, begun: str, mei: User, allocation: Any) -> None:
    job = JobFactory.create(owner=mei, allocation=allocation)
    JobFile.objects.create(job=job, kind=JobFile.Kind.INPUT, path="a", size=10, upload=only())
    answer = browser.delete(begun, headers=V)
    assert answer.status_code == 409
    assert only().stored_at.exists()


def test_an_expired_upload_is_gone(browser: Client, begun: str) -> None:
    Upload.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    assert browser.head(begun, headers=V).status_code == 410
    assert patch(browser, begun, b"01234", 0).status_code == 410


def test_a_second_writer_waits_its_turn(browser: Client, begun: str) -> None:
    with only().stored_at.open("r+b") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        assert patch(browser, begun, b"01234", 0).status_code == 423
    assert patch(browser, begun, b"01234", 0).status_code == 204


def test_a_writer_whose_row_moved_keeps_out(mei: User, begun: str) -> None:
    """The lock is the first fence, the guarded UPDATE the second: without the lock it alone must hold."""
    late = only()

    def meanwhile(count: int) -> bytes:
        Upload.objects.update(offset=4)
        return b"x"

    with pytest.raises(uploads.WrongOffset):
        uploads.append(late, at=0, length=1, read=meanwhile)
    assert only().offset == 4


def test_a_cut_keeps_what_arrived(mei: User, begun: str) -> None:
    class Cut(Exception):
        pass

    pieces = iter([b"012", b"345"])

    def read(count: int) -> bytes:
        try:
            return next(pieces)
        except StopIteration:
            raise Cut from None

    with pytest.raises(Cut):
        uploads.append(only(), at=0, length=10, read=read)
    assert only().offset == 6
    rest = iter([b"6789"])
    uploads.append(only(), at=6, length=4, read=lambda _count: next(rest, b""))
    assert only().sha256 == hashlib.sha256(b"0123456789").hexdigest()


def test_steps_add_up(mei: User, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uploads, "STEP", 1000)
    monkeypatch.setattr(uploads, "PIECE", 300)
    content = bytes(range(256)) * 41
    upload = uploads.begin(by=mei, path="big.bin", size=len(content))
    stream = iter([content[at : at + 170] for at in range(0, len(content), 170)])
    uploads.append(upload, at=0, length=len(content), read=lambda _count: next(stream, b""))
    assert only().stored_at.read_bytes() == content
    assert only().sha256 == hashlib.sha256(content).hexdigest()


def test_a_file_that_was_lost_says_so(browser: Client, begun: str) -> None:
    only().stored_at.unlink()
    answer = patch(browser, begun, b"01234", 0)
    assert answer.status_code == 410
    assert "again" in answer.json()["detail"]


def test_the_page_and_the_api_share_the_door(browser: Client) -> None:
    assert reverse("jobs:uploads") == URL
    answer = browser.options("/api/v1/uploads/")
    assert answer["Tus-Version"] == "1.0.0"
