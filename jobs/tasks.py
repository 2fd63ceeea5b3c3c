"""Doorbells: an id in, one call, done. Each may ring twice, late or never; the sweep finds what was missed."""

from __future__ import annotations

from datetime import timedelta

from celery import shared_task
from django.utils import timezone

from jobs import dispatch as dispatching
from jobs import estimating, files, provisioning, sync
from jobs.models import ClusterAccount
from jobs.sweep import overdue

NEW = timedelta(seconds=30)


@shared_task
def dispatch(cluster_id: int) -> None:
    dispatching.send_waiting(cluster_id)


@shared_task
def resolve(cluster_id: int) -> None:
    dispatching.resolve_unclear(cluster_id)


@shared_task
def cancel(cluster_id: int) -> None:
    dispatching.cancel_wanted(cluster_id)


@shared_task
def provision(account_id: int) -> None:
    """A POSIX user takes the centre a moment. While it is new, look again soon; later, the sweep does."""
    account = ClusterAccount.objects.get(pk=account_id)
    if provisioning.provision(account_id):
        dispatch.delay(account.cluster_id)
    elif timezone.now() - account.created_at < NEW:
        provision.apply_async((account_id,), countdown=1)


@shared_task
def estimate(estimate_id: int) -> None:
    estimating.answer(estimate_id)


@shared_task
def read_logs(job_id: int) -> None:
    files.read_logs(job_id)


@shared_task
def list_outputs(job_id: int) -> None:
    files.list_outputs(job_id)


@shared_task
def bring_file(fetch_id: str) -> None:
    files.bring(fetch_id)


@shared_task
def sync_cluster(cluster_id: int) -> None:
    for job_id in sync.poll(cluster_id):
        list_outputs.delay(job_id)


@shared_task
def sync_clusters() -> None:
    for cluster_id in sync.due():
        sync_cluster.delay(cluster_id)


@shared_task
def collect_records() -> None:
    for cluster_id in sync.clusters():
        sync.collect(cluster_id)


@shared_task
def sweep() -> None:
    """What should have been done and was not: ring again."""
    for name, argument in overdue():
        globals()[name].delay(argument)


@shared_task
def clear_old_uploads() -> None:
    files.clear_old()
