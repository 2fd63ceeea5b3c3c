"""Worker side: have a POSIX user made and known to the scheduler. Requested → approved → exists → associated → active.

The centre makes POSIX users; the portal asks, looks whether they are there, and makes the associations, institution
→ lab → project, as its own restricted admin principal.
"""

from __future__ import annotations

import logging

from django.utils import timezone

from jobs import fencing, health, identity
from jobs.clusters import Door, connect_to
from jobs.leases import holding
from jobs.models import Association, ClusterAccount
from jobs.spec import ClusterError
from portal.transitions import move

log = logging.getLogger(__name__)


def provision(account_id: int) -> bool:
    """Take one step or all of them. True when the person can run jobs; until then the sweep rings again."""
    account = ClusterAccount.objects.select_related("cluster").get(pk=account_id)
    if not account.is_approved or not health.may_try(account.cluster_id):
        return False
    with holding(account) as held:
        account.refresh_from_db()
        if not held or account.state == ClusterAccount.State.DISABLED:
            return False
        try:
            with connect_to(account.cluster.name) as door:
                return _make(door, account)
        except ClusterError as error:
            log.warning(
                "cluster %s: provisioning %s failed: %s", account.cluster.name, account.username, error
            )
            ClusterAccount.objects.filter(pk=account.pk).update(message=str(error)[:300])
            return False


def _make(door: Door, account: ClusterAccount) -> bool:
    if not _is_there(door, account):
        return False
    to_make = account.associations.live().filter(made_at=None)
    for association in to_make.select_related("account", "project__lab__institution"):
        _associate(door, association)
    if account.state == ClusterAccount.State.REQUESTED:
        return move(account, ClusterAccount.State.ACTIVE, message="")
    return True


def _is_there(door: Door, account: ClusterAccount) -> bool:
    """Whether the POSIX user exists. The centre is asked for it first, also for one that was there once (asking twice is
    asking once): a wish to shut it out that waits with the centre is taken back by that. A newcomer never gets a user
    who is there already: whose it is, a restored database may have forgotten."""
    now = timezone.now()
    this = ClusterAccount.objects.filter(pk=account.pk)
    if account.is_active:
        return True
    if account.is_of_newcomer:
        taken: set[str] = set()
        while door.is_taken(account.username):
            taken.add(account.username)
            identity.take_another_name(account, taken)
        this.update(
            asked_at=now
        )  # before asking: killed in between, it must not take its own user for another's
    elif account.asked_at is not None and door.account_exists(account.username):
        this.filter(found_at=None).update(found_at=now)
        return True
    door.provision(account.username)
    this.filter(asked_at=None).update(asked_at=now)
    return False


def _associate(door: Door, association: Association) -> None:
    """Unless the right ended meanwhile. An account has its budgets before anybody may run on it."""
    project = association.project
    chain = (project.lab.institution.account, project.lab.account, project.account)
    door.make_accounts(chain)
    fencing.keep_project(door, association.account.cluster, project)
    door.associate(association.account.username, chain)
    Association.objects.live().filter(pk=association.pk).update(made_at=timezone.now())
