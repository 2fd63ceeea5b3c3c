"""A job's results: brought when somebody asks, served so that no browser runs them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client, TestCase
from django.utils import translation

from accounting.models import Allocation
from jobs.models import Fetch, Job, JobFile
from jobs.states import State
from portal.models import User
from tests.conftest import Bell
from tests.factories import JobFactory
from tests.jobs.at_hand import brought, result

PNG = b"\x89PNG\r\n\x1a\n" + b"\0" * 30
ClientFor = Callable[[User], Client]


@pytest.fixture
def job(mei: User, allocation: Allocation) -> Job:
    return JobFactory.create(owner=mei, allocation=allocation, state=State.SUCCEEDED, scheduler_id="1")


def at(file: JobFile, part: str = "") -> str:
    return f"/jobs/{file.job_id}/files/{file.pk}/{part}"


def body(response: Any) -> bytes:
    return b"".join(response.streaming_content)


def test_asking_has_it_brought(mei: User, job: Job, client_for: ClientFor, bell: Bell) -> None:
    file, client = result(job), client_for(mei)
    with TestCase.captureOnCommitCallbacks(execute=True):
        first = client.get(at(file))
        second = client.get(at(file))
    assert "On its way" in first.content.decode()
    assert "On its way" in second.content.decode()
    assert bell.rang("jobs.tasks.bring_file") == [(str(Fetch.objects.get().pk),)]


def test_what_is_here_is_downloaded_and_never_run(mei: User, job: Job, client_for: ClientFor) -> None:
    file = result(job, "models/<b>page</b>.html", b"<script>alert(1)</script>")
    brought(file, b"<script>alert(1)</script>")
    response = client_for(mei).get(at(file))
    assert body(response) == b"<script>alert(1)</script>"
    assert response["Content-Disposition"].startswith("attachment")
    assert response["Content-Type"] == "application/octet-stream"
    assert response["X-Content-Type-Options"] == "nosniff"
    assert response["Content-Security-Policy"] == "default-src 'none'; sandbox"
    assert "no-store" in response["Cache-Control"]


def test_the_page_waits_and_then_the_download_begins(mei: User, job: Job, client_for: ClientFor) -> None:
    file, client, htmx = result(job), client_for(mei), {"HX-Request": "true"}
    fetch = Fetch.objects.create(job_file=file, asked_by=mei, received=1)
    waiting = client.get(f"/jobs/fetches/{fetch.pk}/", headers=htmx)
    assert "HX-Trigger" not in waiting
    assert f"/jobs/fetches/{fetch.pk}/" in waiting.content.decode()
    fetch.delete()
    here = client.get(f"/jobs/fetches/{brought(file).pk}/", headers=htmx)
    assert at(file) in here["HX-Trigger"]
    assert "hx-trigger" not in here.content.decode()


def test_a_failure_is_told_and_can_be_tried_again(mei: User, job: Job, client_for: ClientFor) -> None:
    file, client = result(job), client_for(mei)
    failed = Fetch.objects.create(
        job_file=file, asked_by=mei, state=Fetch.State.FAILED, message="no space left"
    )
    shown = client.get(f"/jobs/fetches/{failed.pk}/", headers={"HX-Request": "true"}).content.decode()
    assert "no space left" in shown
    assert "Try again" in shown
    client.get(at(file))
    assert Fetch.objects.filter(state=Fetch.State.WANTED).count() == 1


def test_what_was_cleared_away_is_brought_again(mei: User, job: Job, client_for: ClientFor) -> None:
    file = result(job)
    brought(file).stored_at.unlink()
    assert "On its way" in client_for(mei).get(at(file)).content.decode()
    assert sorted(Fetch.objects.values_list("state", flat=True)) == ["failed", "wanted"]


def test_a_picture_is_shown_as_one(mei: User, job: Job, client_for: ClientFor) -> None:
    file = result(job, "curve.png", PNG)
    brought(file, PNG)
    client = client_for(mei)
    part = client.get(at(file, "picture/"), headers={"HX-Request": "true"}).content.decode()
    assert f'src="{at(file, "picture/")}"' in part
    shown = client.get(at(file, "picture/"))
    assert (shown["Content-Type"], body(shown)) == ("image/png", PNG)
    assert "sandbox" in shown["Content-Security-Policy"]


@pytest.mark.parametrize("content", [b"<svg onload=alert(1)>", b"<html>", b"", b"GIF89a"])
def test_what_only_calls_itself_a_picture_is_none(
    mei: User, job: Job, client_for: ClientFor, content: bytes
) -> None:
    file = result(job, "curve.png", content)
    brought(file, content)
    client = client_for(mei)
    assert client.get(at(file, "picture/")).status_code == 404
    assert "<img" not in client.get(at(file, "picture/"), headers={"HX-Request": "true"}).content.decode()


@pytest.mark.parametrize("part", ["", "picture/"])
@pytest.mark.parametrize("who", ["otto", "vera", "fay"])
def test_to_a_stranger_it_does_not_exist(
    who: str, part: str, job: Job, request: pytest.FixtureRequest, client_for: ClientFor
) -> None:
    file = result(job)
    fetch = brought(file)
    client = client_for(request.getfixturevalue(who))
    theirs, missing = client.get(at(file, part)), client.get(f"/jobs/{job.pk}/files/{file.pk + 999}/{part}")
    assert theirs.status_code == missing.status_code == 404
    assert theirs.content == missing.content
    assert client.get(f"/jobs/fetches/{fetch.pk}/").status_code == 404


@pytest.mark.parametrize("who", ["ada", "sam", "ann"])
def test_who_may_not_read_files_is_told(
    who: str, job: Job, request: pytest.FixtureRequest, client_for: ClientFor
) -> None:
    file = result(job)
    fetch = brought(file)
    client = client_for(request.getfixturevalue(who))
    for url in (at(file), at(file, "picture/"), f"/jobs/fetches/{fetch.pk}/"):
        assert client.get(url).status_code == 403


def test_a_file_that_was_sent_is_no_result(mei: User, job: Job, client_for: ClientFor) -> None:
    sent = JobFile.objects.create(job=job, kind=JobFile.Kind.INPUT, path="x.csv", size=1)
    assert client_for(mei).get(at(sent)).status_code == 404


def test_a_file_of_another_job_is_not_of_this_one(
    mei: User, job: Job, allocation: Allocation, client_for: ClientFor
) -> None:
    other = result(JobFactory.create(owner=mei, allocation=allocation))
    assert client_for(mei).get(f"/jobs/{job.pk}/files/{other.pk}/").status_code == 404


def test_why_a_fetch_failed_is_told_in_the_reader_s_language(job: Job) -> None:
    silent = Fetch(job_file=result(job, "a.json"), message="")
    theirs = Fetch(job_file=result(job, "b.json"), message="cannot open a.json: Permission denied.")
    with translation.override("zh-hans"):
        assert silent.why != "the cluster gave no reason"
        assert theirs.why == "cannot open a.json: Permission denied"
