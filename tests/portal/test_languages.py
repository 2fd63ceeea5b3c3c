"""Whoever wants Chinese gets all of it: pages, reasons, errors, dates. The switch is remembered."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import date, timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import translation

from accounting import ledger
from accounting.models import Allocation, Partition
from jobs.models import Job
from jobs.states import State
from portal.models import Project, User
from tests.factories import AllocationFactory, AllocationRequestFactory, JobFactory
from tests.pages import browser, words

LOG_IN, SUBMIT, SWITCH = "/accounts/login/", "/jobs/new/", "/i18n/setlang/"
CHINESE = re.compile(r"[\u4e00-\u9fff]")
ENGLISH = re.compile(
    r"[A-Za-z][a-z']+(?: [A-Za-z][A-Za-z']+){2,}"
)  # three words: a sentence, or a part of one
SAID_IN_TAGS = re.compile(
    r'\b(?:title|aria-label|placeholder|data-bs-title|data-empty|data-text[\w-]*)="([^"]+)"'
)
NAMES = ("Mei Lin", "Ivo Petrov", "Squeezed light", "National Science Fund", "Northlake University")


@pytest.fixture(autouse=True)
def own_language_afterwards() -> Iterator[None]:
    """A request leaves its language behind in the thread, where the next test would find it."""
    with translation.override("en"):
        yield


@pytest.fixture
def job(mei: User, allocation: Allocation, a100: Partition) -> Job:
    return JobFactory.create(
        owner=mei,
        allocation=allocation,
        partition=a100,
        name="fit",
        state=State.FAILED,
        reason="OUT_OF_MEMORY",
    )


def chinese(user: User | None = None) -> Client:
    """A browser that asks for Chinese, as those in China do."""
    client = browser(user) if user else Client()
    client.defaults["HTTP_ACCEPT_LANGUAGE"] = "zh-CN,zh;q=0.9,en;q=0.8"
    return client


def english_in(response: Any) -> list[str]:
    """Every run of three English words that a person reads or a screen reader says, but for names."""
    said = " | ".join([words(response), *SAID_IN_TAGS.findall(response.content.decode())])
    for name in NAMES:
        said = said.replace(name, "…")
    return ENGLISH.findall(said)


def assert_all_chinese(response: Any) -> None:
    assert response.status_code in (200, 422)
    assert CHINESE.search(words(response))
    assert english_in(response) == []
    assert '<html lang="zh-hans">' in response.content.decode()


def test_the_search_for_english_finds_it(client: Client, db: None) -> None:
    assert any("Forgot your password" in run for run in english_in(client.get(LOG_IN)))


def test_the_log_in_is_chinese(db: None) -> None:
    page = chinese().get(LOG_IN)
    assert_all_chinese(page)
    assert "登录" in words(page)


@pytest.mark.parametrize("url", ["/", "/jobs/", SUBMIT, "/projects/", "/projects/squeezed-light/"])
def test_the_pages_of_a_member_are_chinese(mei: User, job: Job, url: str) -> None:
    assert_all_chinese(chinese(mei).get(url))


@pytest.mark.parametrize("url", ["/requests/", "/projects/squeezed-light/request/", "/people/"])
def test_the_pages_of_a_pi_are_chinese(ivo: User, allocation: Allocation, url: str) -> None:
    assert_all_chinese(chinese(ivo).get(url))


@pytest.mark.parametrize("url", ["/requests/queue/", "/requests/{asked}/", "/jobs/clusters/", "/reports/"])
def test_the_pages_of_staff_are_chinese(sam: User, ivo: User, project: Project, job: Job, url: str) -> None:
    asked = AllocationRequestFactory.create(
        project=project, cluster=job.cluster, created_by=ivo, justification="算法验证"
    )
    assert_all_chinese(chinese(sam).get(url.format(asked=asked.pk)))


def test_the_report_of_a_funder_is_chinese(fay: User, allocation: Allocation) -> None:
    page = chinese(fay).get("/reports/?from=2026-01&to=2026-03")
    assert_all_chinese(page)
    assert "2026年1月至2026年3月" in words(page)


def test_why_a_job_failed_is_chinese(mei: User, job: Job) -> None:
    page = chinese(mei).get(f"/jobs/{job.pk}/")
    assert_all_chinese(page)
    assert "作业使用的内存超过了申请量" in words(page)


def test_errors_of_forms_are_chinese(mei: User, allocation: Allocation, a100: Partition) -> None:
    asked = {
        "project": allocation.project.pk,
        "partition": a100.pk,
        "gpus": "33",
        "hours": "",
        "minutes": "",
        "name": "",
    }
    page = chinese(mei).post(SUBMIT, asked)
    assert_all_chinese(page)
    assert "a100 共有 32 块 GPU" in words(page)
    assert "请说明作业可以运行多久" in words(page)
    assert "邮箱地址与密码不匹配" in words(chinese().post(LOG_IN, {"login": mei.email, "password": "wrong"}))


def test_a_correction_says_why_in_the_readers_language(ivo: User, mei: User, allocation: Allocation) -> None:
    reason = "The scheduler's record of this run changed after it was charged."
    ledger.adjust(allocation, -3600, by=mei, reason=reason)
    url = f"/allocations/{allocation.pk}/statement/"
    assert "计费之后，调度器更改了本次运行的记录。" in words(chinese(ivo).get(url))
    assert reason in words(browser(ivo).get(url))


def test_dates_are_written_as_each_language_does(ivo: User, project: Project) -> None:
    end = date(2126, 6, 30)
    AllocationFactory.create(project=project, start=end - timedelta(days=40_000), end=end)
    assert "有效期至2126年6月30日" in words(chinese(ivo).get("/projects/squeezed-light/"))
    assert "until 30 June 2126" in words(browser(ivo).get("/projects/squeezed-light/"))


def test_the_switch_comes_back_to_the_page_and_is_remembered(client: Client, db: None) -> None:
    answer = client.post(SWITCH, {"language": "zh-hans", "next": LOG_IN}, follow=True)
    assert answer.redirect_chain == [(LOG_IN, 302)]
    assert_all_chinese(answer)
    assert client.cookies["django_language"]["max-age"] == 365 * 24 * 3600
    client.defaults["HTTP_ACCEPT_LANGUAGE"] = "en"  # the choice counts more than what the browser asks for
    assert_all_chinese(client.get(LOG_IN))
    back = client.post(SWITCH, {"language": "en", "next": LOG_IN}, follow=True)
    assert "Forgot your password?" in words(back)


def test_the_switch_is_on_every_page_and_leads_nowhere_else(mei: User, client: Client) -> None:
    for page in (client.get(LOG_IN), browser(mei).get("/")):
        assert f'action="{SWITCH}"' in page.content.decode()
    assert client.post(SWITCH, {"language": "en", "next": "https://elsewhere.example/"})["Location"] == "/"
