"""What watches the portal from outside: alive, ready, and the figures for Prometheus."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.db import DatabaseError, connection
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.recorder import MigrationRecorder
from django.test import Client
from django.utils import timezone
from prometheus_client.parser import text_string_to_metric_families
from pytest_django.fixtures import Settings

from accounting.models import Cluster, Partition
from jobs import health
from jobs.models import ClusterHealth
from jobs.ssh import Unreachable
from tests.factories import JobFactory
from tests.pages import assert_like_nowhere


def test_alive_needs_no_database() -> None:
    """Without the mark for it, a test that asks the database fails."""
    answer = Client().get("/healthz")
    assert (answer.status_code, answer.content) == (200, b"alive\n")


def test_ready_says_what_is_away_and_that_people_are_answered_without_redis(no_redis: None, db: None) -> None:
    answer = Client().get("/readyz")
    assert answer.status_code == 200
    assert answer.json() == {"status": "degraded", "database": "ok", "migrations": "ok", "redis": "broken"}


def test_not_ready_without_the_database(no_redis: None, monkeypatch: pytest.MonkeyPatch, db: None) -> None:
    def away() -> None:
        raise DatabaseError("connection to server at 192.0.2.1 failed")

    with monkeypatch.context() as patch:
        patch.setattr(connection, "cursor", away)
        answer = Client().get("/readyz")
    assert answer.status_code == 503
    assert answer.json() == {"status": "unready", "database": "broken", "redis": "broken"}


def test_not_ready_before_the_database_is_up_to_date(db: None) -> None:
    (newest,) = MigrationLoader(connection).graph.leaf_nodes("jobs")
    MigrationRecorder(connection).record_unapplied(*newest)
    answer = Client().get("/readyz")
    assert (answer.status_code, answer.json()["migrations"]) == (503, "broken")


# ── Figures ─────────────────────────────────────────────────────────────────


def figures(**headers: str) -> dict[tuple[str, ...], float]:
    """(name, *labels) → value."""
    answer = Client().get("/metrics", headers=headers)
    assert answer.status_code == 200
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(answer.content.decode())
        for sample in family.samples
    }


def test_jobs_are_counted_by_state_with_the_age_of_the_oldest(a100: Partition) -> None:
    hour_ago = timezone.now() - timedelta(hours=1)
    place = {"allocation__cluster": a100.cluster, "partition": a100}
    JobFactory.create(**place, created_at=hour_ago, attempts=5)
    JobFactory.create(**place)
    JobFactory.create(**place, state="running", scheduler_id="7")
    found = figures()
    assert found["firefly_jobs", "firefly", "new"] == 2
    assert found["firefly_jobs", "firefly", "running"] == 1
    assert found["firefly_jobs", "firefly", "queued"] == 0
    assert 3600 <= found["firefly_oldest_waiting_seconds", "firefly", "new"] < 3700
    assert found["firefly_jobs_set_aside", "firefly"] == 1


def test_a_cluster_that_fails_is_seen(firefly: Cluster) -> None:
    ClusterHealth.objects.create(cluster=firefly, asked_at=timezone.now())
    health.answered(firefly)
    found = figures()
    assert found["firefly_breaker_open", "firefly"] == 0
    assert 0 <= found["firefly_poll_seconds", "firefly"] < 10
    assert 0 <= found["firefly_last_answer_age_seconds", "firefly"] < 10
    health.failed(firefly, Unreachable("Nobody there."))
    found = figures()
    assert found["firefly_breaker_open", "firefly"] == 1
    assert found["firefly_failures_total", "firefly", "unreachable"] == 1


def test_requests_are_counted_by_page_and_redis_is_told_away(no_redis: None, db: None) -> None:
    asked = ("django_http_requests_total_by_view_transport_method_total", "GET", "http", "healthz")
    before = figures().get(asked, 0)
    Client().get("/healthz")
    found = figures()
    assert found[asked] == before + 1
    assert found[("firefly_redis_up",)] == 0


def test_a_token_opens_them_and_nothing_else_does(db: None, settings: Settings) -> None:
    settings.METRICS_TOKEN = "s3cret"
    assert figures(Authorization="Bearer s3cret")
    assert Client().get("/metrics", headers={"Authorization": "Bearer wrong"}).status_code == 404
    assert_like_nowhere(Client(), "/metrics")


def test_without_a_token_they_are_for_this_machine_alone(db: None) -> None:
    assert figures()
    assert Client(REMOTE_ADDR="192.0.2.7").get("/metrics").status_code == 404
    assert Client().get("/metrics", headers={"X-Forwarded-For": "192.0.2.7"}).status_code == 404
