"""Worker side: whoever lost the right to run on a project's account loses it on the cluster, in five steps.

1. Flag: the association has ended in the database, and with the last one the account is disabled. From then on
   nothing is sent on it, and no worker logs in as that person. Needs no cluster.
2. Drop connections and 3. revoke certificates: the cluster's own hook does it as root, asked by the admin; the
   account's open logins are ended, and no certificate for it opens anything, not even one of this minute.
4. Remove the association, and before it, for Slurm keeps the association of whoever has jobs,
5. cancel jobs: those not sent in the database, those on the cluster as the admin, also those that some job started.

Each step may be done twice, and none waits for another to succeed: a cluster that is silent, or a hook that is a
person, finishes it later. docs/decisions/006 says why it is done so.
"""

from __future__ import annotations

import logging
from datetime import datetime

from django.db import transaction
from django.utils import timezone

from jobs import health, kept_logins, lifecycle
from jobs.clusters import Door, connect_to
from jobs.leases import holding
from jobs.models import Association, ClusterAccount, Job
from jobs.rights import why_ended
from jobs.schedulers import AnswerError
from jobs.spec import ClusterError
from jobs.states import State
from portal.models import Project
from portal.models.audit import record
from portal.transitions import advance

log = logging.getLogger(__name__)


def off_board(account_id: int) -> bool:
    """All steps that are due. True if nothing is left to take away."""
    flag(account_id)
    account = ClusterAccount.objects.select_related("cluster").get(pk=account_id)
    if not ClusterAccount.objects.leaving().filter(pk=account_id).exists():
        return True
    if not health.may_try(account.cluster_id):
        return False
    with holding(account) as held:
        return held and _take_away(account)


@transaction.atomic
def flag(account_id: int) -> None:
    """Step 1, and the part of step 5 that needs no cluster."""
    locked = ClusterAccount.objects.select_for_update(no_key=True, of=("self",))
    account = locked.select_related("user", "cluster").get(pk=account_id)
    now = timezone.now()
    for association in account.associations.unfounded().select_related("project"):
        Association.objects.filter(pk=association.pk).update(ended_at=now)
        record(
            "right to run ended",
            association,
            by=None,
            project=association.project,
            person=account.user_id,
            username=account.username,
            cluster=account.cluster.name,
        )
        _cancel_jobs(account, association.project, now)
    if account.state != ClusterAccount.State.DISABLED and not account.associations.live().exists():
        advance(account, ClusterAccount.State.DISABLED, by=None, shut_out_at=None, message="")


def _cancel_jobs(account: ClusterAccount, project: Project, now: datetime) -> None:
    theirs = Job.objects.filter(owner=account.user_id, project=project, cluster=account.cluster_id)
    for job in theirs.unfinished():
        if job.cancel_requested_at is None:
            Job.objects.filter(pk=job.pk, cancel_requested_at=None).update(cancel_requested_at=now)
            record("job cancel requested", job, by=None, project=project, reason=why_ended(job))
        if job.state == State.NEW:
            lifecycle.finish(job, State.CANCELLED, reason=why_ended(job))


def _take_away(account: ClusterAccount) -> bool:
    """Steps 2 to 5 on the cluster. What did not succeed is noted, for the staff's page, and tried again."""
    trouble: list[str] = []
    kept_logins.drop(account.username)  # other processes' end by the hook, or unused within a minute
    try:
        with connect_to(account.cluster.name) as door:
            # First the door, so that nothing new begins behind those who clear up.
            _try(trouble, _shut_out, door, account)
            for association in account.associations.to_remove().select_related("project"):
                _try(trouble, _remove, door, association, account.username)
    except ClusterError as error:
        trouble.append(str(error))
    ClusterAccount.objects.filter(pk=account.pk).update(message=" ".join(trouble)[:300])
    for words in trouble:
        log.warning("cluster %s: off-boarding %s: %s", account.cluster.name, account.username, words)
    return not ClusterAccount.objects.leaving().filter(pk=account.pk).exists()


def _try(trouble: list[str], step: object, *arguments: object) -> None:
    try:
        step(*arguments)  # type: ignore[operator]
    except AnswerError as error:
        trouble.append(str(error))


def _shut_out(door: Door, account: ClusterAccount) -> None:
    """Steps 2 and 3, if the account is of no use to anybody. The hook may take its time: asked again, it answers."""
    unfinished = ClusterAccount.objects.filter(
        pk=account.pk, state=ClusterAccount.State.DISABLED, shut_out_at=None
    )
    if not unfinished.exists():
        return
    if door.is_shut_out(account.username):
        unfinished.update(shut_out_at=timezone.now())
    else:
        door.shut_out(account.username)


def _remove(door: Door, association: Association, username: str) -> None:
    """Steps 5 and 4. Whoever got the right anew meanwhile keeps the row, and it is made again."""
    account = association.project.account
    door.end_jobs(username, account)
    door.dissociate(username, account)
    Association.objects.to_remove().filter(pk=association.pk, ended_at=association.ended_at).update(
        removed_at=timezone.now()
    )
