"""Worker side: have a POSIX user made and known to the scheduler. Requested → exists → associated → active.

The centre makes POSIX users; the portal asks, looks whether they are there, and makes the associations, institution
→ lab → project, as its own restricted admin principal.
"""

from __future__ import annotations

import logging

from django.utils import timezone

from jobs import health
from jobs.clusters import Door, connect_to
from jobs.models import Association, ClusterAccount
from jobs.spec import ClusterError
from portal.transitions import move

log = logging.getLogger(__name__)


def provision(account_id: int) -> bool:
    """Take one step or all of them. True when the person can run jobs; until then the sweep rings again."""
    account = ClusterAccount.objects.select_related("cluster").get(pk=account_id)
    if account.state == ClusterAccount.State.DISABLED or not health.may_try(account.cluster_id):
        return False
    try:
        with connect_to(account.cluster.name) as door:
            if not _is_there(door, account):
                return False
            for association in account.associations.filter(made_at=None).select_related(
                "project__lab__institution"
            ):
                _associate(door, association)
    except ClusterError as error:
        log.warning("cluster %s: provisioning %s failed: %s", account.cluster.name, account.username, error)
        ClusterAccount.objects.filter(pk=account.pk).update(message=str(error)[:300])
        return False
    if account.state == ClusterAccount.State.REQUESTED:
        move(account, ClusterAccount.State.ACTIVE, message="")
    return True


def _is_there(door: Door, account: ClusterAccount) -> bool:
    """Whether the POSIX user exists; if not, the centre is asked for it (asking twice is asking once)."""
    if door.account_exists(account.username):
        return True
    door.provision(account.username)
    return False


def _associate(door: Door, association: Association) -> None:
    project = association.project
    chain = (project.lab.institution.account, project.lab.account, project.account)
    door.associate(association.account.username, chain)
    Association.objects.filter(pk=association.pk).update(made_at=timezone.now())
