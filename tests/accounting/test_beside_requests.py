"""What stands beside a request: attached PDFs, looked through and served as files; publications by their DOI."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connection
from pytest_django.fixtures import Settings

from accounting.actions.attachments import MOST, attach
from accounting.attaching import clean_name
from accounting.forms.outcomes import parse_doi
from accounting.models import AllocationRequest, Attachment, Cluster, Publication
from portal.models import AuditEvent, Project, User
from tests.factories import AllocationRequestFactory
from tests.pages import assert_like_nowhere, browser, words
from tests.pdfs import pdf


@pytest.fixture
def draft(project: Project, firefly: Cluster, ivo: User) -> AllocationRequest:
    return AllocationRequestFactory.create(project=project, cluster=firefly, created_by=ivo, state="draft")


def sent(user: User, draft: AllocationRequest, content: bytes, name: str = "figures.pdf") -> Any:
    file = SimpleUploadedFile(name, content, "application/pdf")
    return browser(user).post(f"/requests/{draft.pk}/attachments/", {"file": file}, follow=True)


def left(root: Path) -> list[Path]:
    return [path for path in root.rglob("*") if path.is_file()]


def test_a_pdf_is_kept_by_what_it_holds_and_served_as_a_file(
    ivo: User, ada: User, draft: AllocationRequest, settings: Settings
) -> None:
    content = pdf(pages=3)
    page = words(sent(ivo, draft, content, "../../Figures & tables.pdf"))
    kept = Attachment.objects.get()
    assert (kept.name, kept.pages, kept.size) == ("Figures & tables.pdf", 3, len(content))
    assert "Figures & tables.pdf" in page and "3 pages" in page
    assert left(settings.ATTACHMENT_ROOT) == [kept.stored_at]
    assert "Figures" not in str(kept.stored_at)
    answer = browser(ada).get(f"/requests/{draft.pk}/attachments/{kept.pk}/")
    assert b"".join(answer) == content
    assert answer["Content-Disposition"].startswith("attachment;")
    assert answer["X-Content-Type-Options"] == "nosniff"
    assert answer["Content-Security-Policy"] == "default-src 'none'; sandbox"
    assert AuditEvent.objects.filter(action="attachment added").exists()


def test_it_is_seen_by_whom_the_request_is(
    ivo: User, mei: User, otto: User, vera: User, sam: User, draft: AllocationRequest
) -> None:
    sent(ivo, draft, pdf())
    url = f"/requests/{draft.pk}/attachments/{Attachment.objects.get().pk}/"
    for stranger in (mei, otto, vera, sam):
        assert_like_nowhere(browser(stranger), url)
    AllocationRequest.objects.update(state="submitted")
    assert browser(sam).get(url).status_code == 200
    other = AllocationRequestFactory.create(project=draft.project, cluster=draft.cluster, created_by=ivo)
    assert_like_nowhere(browser(ivo), f"/requests/{other.pk}/attachments/{Attachment.objects.get().pk}/")


BROKEN = pdf()[:-200]
BAD: list[tuple[Callable[[], bytes], str]] = [
    (lambda: b"", "This file is empty"),
    (lambda: b"#!/bin/sh\nrm -rf ~\n", "This is no PDF"),
    (lambda: b"%PDF-1.7\n" + b"\0" * 500, "can't be read"),
    (lambda: pdf(password="secret"), "encrypted"),
    (lambda: pdf(pages=0), "no page"),
    (lambda: pdf(script="app.alert('hello')"), "contains scripts"),
    (lambda: pdf(launch=True), "contains scripts"),
    (lambda: b"%PDF-1.7\n" + b"x" * 11 * 1024**2, "Choose a PDF of at most 10.0"),
]


@pytest.mark.parametrize(("content", "sentence"), BAD, ids=[sentence for _content, sentence in BAD])
def test_a_file_that_cannot_be_kept_says_why(
    ivo: User, draft: AllocationRequest, settings: Settings, content: Callable[[], bytes], sentence: str
) -> None:
    assert sentence in words(sent(ivo, draft, content()))
    assert not Attachment.objects.exists()
    assert not left(settings.ATTACHMENT_ROOT)


def test_the_same_file_is_attached_once(ivo: User, draft: AllocationRequest, settings: Settings) -> None:
    content = pdf()
    sent(ivo, draft, content)
    assert "attached already" in words(sent(ivo, draft, content, "again.pdf"))
    assert len(left(settings.ATTACHMENT_ROOT)) == 1


def test_ten_are_enough(ivo: User, draft: AllocationRequest) -> None:
    for number in range(MOST):
        attach(by=ivo, request=draft, name="a.pdf", chunks=[pdf(title=f"{number}")])
    assert "at most 10 attachments" in words(sent(ivo, draft, pdf(title="one more")))


@pytest.mark.django_db(transaction=True)
def test_who_attach_at_once_do_not_go_beyond_the_limit(ivo: User, draft: AllocationRequest) -> None:
    for number in range(MOST - 1):
        attach(by=ivo, request=draft, name="a.pdf", chunks=[pdf(title=f"{number}")])

    def one_more(number: int) -> bool:
        try:
            asked = AllocationRequest.objects.select_related("project__lab").get(pk=draft.pk)
            attach(
                by=User.objects.get(pk=ivo.pk), request=asked, name="b.pdf", chunks=[pdf(title=f"b{number}")]
            )
        except ValidationError:
            return False
        finally:
            connection.close()
        return True

    with ThreadPoolExecutor(max_workers=3) as threads:
        assert sorted(threads.map(one_more, range(3))) == [False, False, True]
    assert draft.attachments.count() == MOST


def test_it_is_removed_while_the_request_is_with_its_lab(
    ivo: User, draft: AllocationRequest, settings: Settings, django_capture_on_commit_callbacks: Any
) -> None:
    sent(ivo, draft, pdf())
    url = f"/requests/{draft.pk}/attachments/{Attachment.objects.get().pk}/remove/"
    AllocationRequest.objects.update(state="submitted")
    assert "can no longer be changed" in words(browser(ivo).post(url, follow=True))
    assert "can no longer be changed" in words(sent(ivo, draft, pdf(title="late")))
    AllocationRequest.objects.update(state="returned")
    with django_capture_on_commit_callbacks(execute=True):
        browser(ivo).post(url)
    assert not Attachment.objects.exists() and not left(settings.ATTACHMENT_ROOT)


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ("figures.pdf", "figures.pdf"),
        ("../../etc/passwd", "passwd.pdf"),
        ("C:\\x\\y.PDF", "y.pdf"),
        ("a\nb\0c\u202e.pdf", "abc.pdf"),
        ("-rf", "rf.pdf"),
        (".ssh", "ssh.pdf"),
        ("", "attachment.pdf"),
        ("字" * 300, "字" * 65 + ".pdf"),
    ],
)
def test_a_name_is_shown_clean(given: str, name: str) -> None:
    assert clean_name(given) == name


# ── Publications ─────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "text",
    ["10.1038/S41586-021-03819-2", "https://doi.org/10.1038/s41586-021-03819-2", " doi:10.1038/s41586-021-03819-2 ",
     "http://dx.doi.org/10.1038/s41586-021-03819-2"],
)  # fmt: skip
def test_a_doi_is_known_however_it_is_written(text: str) -> None:
    assert parse_doi(text) == "10.1038/s41586-021-03819-2"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "10.1/x",
        "11.1000/x",
        "10.1000/",
        "10.1000/a b",
        "10.1000/<b>",
        "10.1000/é",
        "10.1000/" + "x" * 300,
    ],
)
def test_what_is_no_doi_is_refused(text: str) -> None:
    with pytest.raises(ValidationError, match="Give the DOI"):
        parse_doi(text)


def paper(**other: str) -> dict[str, str]:
    return {"doi": "https://doi.org/10.1000/ABC", "title": "Squeezing", "year": "2026"} | other


def test_a_publication_is_added_once_and_taken_away(ivo: User, draft: AllocationRequest) -> None:
    url = f"/requests/{draft.pk}/publications/"
    assert "Squeezing (2026)" in words(browser(ivo).post(url, paper(), follow=True))
    assert "listed already" in words(browser(ivo).post(url, paper(doi="10.1000/abc"), follow=True))
    assert "Squeezing" in words(browser(ivo).get(f"/requests/{draft.pk}/"))
    browser(ivo).post(f"{url}{Publication.objects.get().pk}/remove/")
    assert not Publication.objects.exists()


@pytest.mark.parametrize(
    ("field", "value", "sentence"),
    [
        ("doi", "nonsense", "Give the DOI"),
        ("year", "1066", "Type a year from 1900"),
        ("year", "9" * 400, "Type"),
        ("year", "soon", "four digits"),
        ("title", "", "required"),
    ],
)
def test_a_wrong_publication_says_why_and_keeps_the_rest(
    ivo: User, draft: AllocationRequest, field: str, value: str, sentence: str
) -> None:
    answer = browser(ivo).post(f"/requests/{draft.pk}/publications/", paper(**{field: value}))
    assert answer.status_code == 200 and sentence in words(answer)
    assert not Publication.objects.exists()
