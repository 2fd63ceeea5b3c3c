"""When a job would start: asked of the scheduler in the background, shown when it has answered."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import timedelta

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from accounting.models import Allocation, Partition
from jobs import actions
from jobs.models import Association, StartEstimate
from portal.models import Project, User
from tests.conftest import Bell
from tests.factories import ClusterAccountFactory
from tests.pages import browser, words

pytestmark = pytest.mark.django_db


@pytest.fixture
def known(mei: User, project: Project, a100: Partition, allocation: Allocation) -> Association:
    """mei has an account on the cluster, and runs on the project's."""
    account = ClusterAccountFactory.create(user=mei, cluster=a100.cluster)
    return Association.objects.create(account=account, project=project, made_at=timezone.now())


def ask(mei: User, project: Project, a100: Partition) -> StartEstimate | None:
    return actions.want_estimate(by=mei, project=project, partition=a100, gpus=2, time_limit_minutes=60)


def page(client: Client, project: Project, a100: Partition, gpus: str = "2") -> str:
    query: dict[str, str | int] = {"project": project.pk, "partition": a100.pk, "gpus": gpus, "hours": "1"}
    return words(client.get(reverse("jobs:expected"), query))


def test_asking_rings_once_and_not_again_while_the_answer_is_fresh(
    known: Association,
    mei: User,
    project: Project,
    a100: Partition,
    bell: Bell,
    django_capture_on_commit_callbacks: Callable[..., AbstractContextManager[object]],
) -> None:
    with django_capture_on_commit_callbacks(execute=True):
        first, second = ask(mei, project, a100), ask(mei, project, a100)
    assert first == second
    assert len(bell.rang("jobs.tasks.estimate")) == 1


def test_an_old_answer_is_asked_for_anew(
    known: Association, mei: User, project: Project, a100: Partition
) -> None:
    estimate = ask(mei, project, a100)
    assert estimate
    past = timezone.now() - timedelta(minutes=5)
    StartEstimate.objects.update(asked_at=past, answered_at=past, starts_at=past)
    again = ask(mei, project, a100)
    assert again
    assert not again.is_answered


def test_somebody_without_an_account_is_told_why(
    mei: User, project: Project, a100: Partition, allocation: Allocation
) -> None:
    assert ask(mei, project, a100) is None
    assert "from your second job on" in page(browser(mei), project, a100)


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        ({}, "Asking the scheduler"),
        ({"answered_at": timedelta(0), "starts_at": timedelta(0)}, "would start at once"),
        ({"answered_at": timedelta(0), "starts_at": timedelta(hours=2)}, "it would start in"),
        ({"answered_at": timedelta(0)}, "can't say yet"),
        ({"answered_at": timedelta(0), "refusal": "<b>Too long</b>"}, "would refuse it: <b>Too long</b>"),
    ],
)
def test_the_page_says_what_is_known(
    answer: dict[str, timedelta | str],
    sentence: str,
    known: Association,
    mei: User,
    project: Project,
    a100: Partition,
) -> None:
    ask(mei, project, a100)
    now = timezone.now()
    StartEstimate.objects.update(
        **{name: now + value if isinstance(value, timedelta) else value for name, value in answer.items()}
    )
    assert sentence in page(browser(mei), project, a100)


@pytest.mark.parametrize("gpus", ["", "0", "x", "1e400", "9" * 400, "\0"])
def test_bad_numbers_show_nothing(
    gpus: str, known: Association, mei: User, project: Project, a100: Partition
) -> None:
    assert page(browser(mei), project, a100, gpus) == ""


def test_a_strangers_project_shows_nothing(
    known: Association, otto: User, project: Project, a100: Partition
) -> None:
    assert page(browser(otto), project, a100) == ""
    assert not StartEstimate.objects.exists()
