"""The clusters page of the staff, and the dot that everybody sees."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from accounting.models import Allocation, Cluster, Partition, QuarantinedRecord
from jobs.models import ClusterHealth, Job
from portal.models import User
from tests.factories import ClusterAccountFactory, ClusterFactory, CollectionFactory, JobFactory
from tests.pages import browser, words

URL = "/jobs/clusters/"
ClientFor = Callable[[User], Client]


def shown(client: Client, url: str = URL) -> str:
    response = client.get(url)
    assert response.status_code == 200
    return response.content.decode()


def test_it_shows_health_partitions_and_the_way_to_what_can_not_be_read(
    sam: User, firefly: Cluster, a100: Partition, client_for: ClientFor
) -> None:
    ClusterHealth.objects.create(cluster=firefly, answered_at=timezone.now(), queue_length=11, free_gpus=13)
    CollectionFactory.create(cluster=firefly)
    QuarantinedRecord.objects.create(cluster=firefly, fingerprint="1", text="<b>cut", reason="no end")
    page = shown(client_for(sam))
    assert all(word in page for word in ("Firefly", "answers", "11", "13", "a100", "/clusters/quarantine/"))


def test_a_cluster_that_is_only_accounted_shows_no_queue_and_comes_last(
    sam: User, firefly: Cluster, client_for: ClientFor
) -> None:
    ClusterFactory.create(name="ember", title="Ember", accepts_jobs=False)
    ahead, ember = shown(client_for(sam)).split("Ember", 1)
    assert "Firefly" in ahead
    assert "Last good answer" in ahead
    assert "Last good answer" not in ember
    assert "Accounting read up to" not in ember


def test_a_silent_cluster_says_why_and_that_nothing_ends(
    sam: User, firefly: Cluster, client_for: ClientFor
) -> None:
    ClusterHealth.objects.create(cluster=firefly, failures=3, problem="connection refused")
    page = shown(client_for(sam))
    assert "does not answer" in page
    assert "connection refused" in page
    assert "no job ends because of this" in page


def test_jobs_that_could_not_be_sent_are_named(
    sam: User, mei: User, allocation: Allocation, a100: Partition, client_for: ClientFor
) -> None:
    tried = JobFactory.create(owner=mei, allocation=allocation, partition=a100, name="Tried", attempts=5)
    old = JobFactory.create(owner=mei, allocation=allocation, partition=a100, name="Old")
    JobFactory.create(owner=mei, allocation=allocation, partition=a100, name="Fresh")
    Job.objects.filter(pk=old.pk).update(created_at=timezone.now() - timedelta(hours=1))
    response = client_for(sam).get(URL)
    assert [job.name for job in response.context["stuck"]] == [tried.name, old.name]
    assert "2 jobs could not be sent" in response.content.decode()


def test_accounts_that_are_not_ready_are_named(
    sam: User, mei: User, firefly: Cluster, client_for: ClientFor
) -> None:
    ClusterAccountFactory.create(user=mei, cluster=firefly, state="requested", message="no answer yet")
    assert "no answer yet" in shown(client_for(sam))


def test_without_clusters_it_says_so(sam: User, client_for: ClientFor) -> None:
    assert "No cluster yet" in shown(client_for(sam))


@pytest.mark.parametrize("who", ["mei", "ivo", "ada", "ann", "fay", "otto"])
def test_it_is_for_the_staff(who: str, request: pytest.FixtureRequest, client_for: ClientFor) -> None:
    response = client_for(request.getfixturevalue(who)).get(URL)
    assert response.status_code == 403
    assert "for the centre&#x27;s staff" in response.content.decode()


# ── The dot ─────────────────────────────────────────────────────────────────


def test_the_dot_says_that_the_cluster_answers(mei: User, firefly: Cluster, client_for: ClientFor) -> None:
    ClusterHealth.objects.create(cluster=firefly, answered_at=timezone.now(), free_gpus=1)
    page = shown(client_for(mei), "/")
    assert "Firefly is up, 1 GPU free" in page
    assert URL not in page


def test_the_dot_says_since_when_it_does_not(mei: User, firefly: Cluster, client_for: ClientFor) -> None:
    ClusterHealth.objects.create(
        cluster=firefly, answered_at=timezone.now() - timedelta(minutes=5), failures=2
    )
    assert "Firefly: last answer 5 min ago" in shown(client_for(mei), "/")


def test_for_staff_it_leads_to_the_page(sam: User, firefly: Cluster, client_for: ClientFor) -> None:
    ClusterHealth.objects.create(cluster=firefly, answered_at=timezone.now())
    assert f'href="{URL}" title="Firefly is up"' in shown(client_for(sam), "/")


def test_a_silent_accounting_is_told_apart_from_a_silent_cluster(sam: User, firefly: Cluster) -> None:
    ClusterHealth.objects.create(
        cluster=firefly, answered_at=timezone.now(), problem="sacct did not end in time."
    )
    page = words(browser(sam).get(reverse("jobs:clusters")))
    assert "The queue answers, the accounting does not." in page
    assert "sacct did not end in time." in page
