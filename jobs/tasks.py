"""Doorbells: an id in, one call, done. Each may ring twice, late or never; the sweep finds what was missed."""

from __future__ import annotations

from datetime import timedelta

from celery import shared_task
from django.utils import timezone

from accounting.models import Cluster
from accounting.reconciling import last_days, month_before
from jobs import (
    balance_checks,
    collecting,
    estimating,
    fencing,
    files,
    offboarding,
    probing,
    provisioning,
    reconciling,
    sync,
)
from jobs import dispatch as dispatching
from jobs.models import ClusterAccount
from jobs.signs import Pulse
from jobs.sweep import overdue

NEW = timedelta(seconds=30)
# Seconds for what is rung every second, or for every job: a worker remembers a task, in 1 KB, until its time limit is
# over, even if it ended long before.
OFTEN = 600


@shared_task
def note_worker(part: str) -> None:
    """The ring reached a worker of that kind: it is alive, and not too busy to hear."""
    Pulse.note(part)


@shared_task
def dispatch(cluster_id: int) -> None:
    dispatching.send_waiting(cluster_id)
    dispatching.drop_unwanted(cluster_id)


@shared_task
def resolve(cluster_id: int) -> None:
    dispatching.resolve_unclear(cluster_id)


@shared_task
def cancel(cluster_id: int) -> None:
    dispatching.cancel_wanted(cluster_id)


@shared_task
def provision(account_id: int) -> None:
    """A POSIX user takes the centre a moment. While it is new, look again soon; later, the sweep does."""
    account = ClusterAccount.objects.select_related("cluster").get(pk=account_id)
    if provisioning.provision(account_id):
        dispatch.delay(account.cluster_id)
    elif account.is_approved and timezone.now() - account.requested_at < NEW:
        provision.apply_async((account_id,), countdown=1)


@shared_task
def off_board(account_id: int) -> None:
    """Each step that did not succeed is taken again at the next ring of the sweep."""
    offboarding.off_board(account_id)


@shared_task
def estimate(estimate_id: int) -> None:
    estimating.answer(estimate_id)


@shared_task(time_limit=OFTEN)
def read_logs(job_id: int) -> None:
    files.read_logs(job_id)


@shared_task(time_limit=OFTEN)
def list_outputs(job_id: int) -> None:
    files.list_outputs(job_id)


@shared_task
def bring_file(fetch_id: str) -> None:
    files.bring(fetch_id)


@shared_task
def sync_cluster(cluster_id: int) -> None:
    for job_id in sync.poll_if_due(cluster_id):
        list_outputs.delay(job_id)


@shared_task(time_limit=OFTEN)
def sync_clusters() -> None:
    for cluster_id in sync.due():
        sync_cluster.delay(cluster_id)


@shared_task
def keep_fences_of(cluster_id: int) -> None:
    fencing.keep(cluster_id)


@shared_task
def keep_fences() -> None:
    for cluster_id in sync.clusters():
        keep_fences_of.delay(cluster_id)


@shared_task
def collect_records() -> None:
    """What is due stands in the database: a look at what can be measured, then the windows."""
    for cluster_id in probing.due():
        check_cluster.delay(cluster_id)
    for window_id in collecting.due():
        collect_window.delay(window_id)


@shared_task
def collect_window(window_id: int) -> None:
    collecting.collect_window(window_id)


@shared_task
def check_cluster(cluster_id: int) -> None:
    probing.check(Cluster.objects.get(pk=cluster_id))


@shared_task
def reconcile() -> None:
    """Nightly. A day that could not be read is read again in the next nights."""
    for cluster in Cluster.objects.filter(accepts_jobs=True):
        reconciling.reconcile(cluster, last_days(timezone.now().date()))


@shared_task
def reconcile_last_month() -> None:
    """Every day of the month that is over, once late records had the time to come."""
    for cluster in Cluster.objects.filter(accepts_jobs=True):
        reconciling.reconcile(cluster, month_before(timezone.now().date()))


@shared_task
def sweep() -> None:
    """What should have been done and was not: ring again."""
    for name, argument in overdue():
        globals()[name].delay(argument)


@shared_task
def clear_old_uploads() -> None:
    files.clear_old()


@shared_task
def check_balances() -> None:
    balance_checks.check()
