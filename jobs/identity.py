"""Who a person is on a cluster: the POSIX user's name and what the scheduler has to know of them."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Container, Iterator
from contextlib import suppress

from django.conf import settings
from django.db import IntegrityError, transaction
from django.utils import timezone

from accounting.models import Cluster
from jobs.models import Association, ClusterAccount
from portal.models import Project, User
from portal.models.audit import record
from portal.transitions import advance


def association_for(user: User, cluster: Cluster, project: Project) -> Association:
    """The person's right there to run for `project`, noted if it is new, with the account, asked for if it is new.

    Inside a transaction, in which the account is locked. Whoever comes back gets the same name again; what was taken
    away is made anew.
    """
    locked = ClusterAccount.objects.select_for_update(no_key=True)
    account = locked.filter(user=user, cluster=cluster).first() or locked.get(pk=_ask(user, cluster).pk)
    if account.state == ClusterAccount.State.DISABLED:
        _ask_again(account)
    association, _new = Association.objects.get_or_create(account=account, project=project)
    if association.ended_at is not None:
        association.made_at = association.ended_at = association.removed_at = None
        association.save()
    return association


def _ask_again(account: ClusterAccount) -> None:
    """As if it were new: approved, asked for and found once more."""
    advance(
        account,
        ClusterAccount.State.REQUESTED,
        by=account.user,
        requested_at=timezone.now(),
        approved_at=None,
        approved_by=None,
        asked_at=None,
        found_at=None,
        shut_out_at=None,
        message="",
    )


def _ask(user: User, cluster: Cluster) -> ClusterAccount:
    now = timezone.now()
    for name in _names(user):
        try:
            with transaction.atomic():
                account = ClusterAccount.objects.create(
                    user=user, cluster=cluster, username=name, created_at=now, requested_at=now
                )
                record("cluster account requested", account, by=user, username=name, cluster=cluster.name)
                return account
        except IntegrityError:
            taken = ClusterAccount.objects.filter(user=user, cluster=cluster).first()
            if taken:
                return taken
    raise RuntimeError(f"No free user name for {_stem(user)} on {cluster.name}")


def take_another_name(account: ClusterAccount, taken: Container[str]) -> None:
    """The cluster has such users already, of whom this database knows nothing: it was restored, or the centre made them."""
    for name in _names(account.user):
        if name in taken:
            continue
        with suppress(IntegrityError), transaction.atomic():
            ClusterAccount.objects.filter(pk=account.pk).update(username=name)
            record("cluster account renamed", account, by=None, username=name, before=account.username)
            account.username = name
            return
    raise RuntimeError(f"No free user name for {_stem(account.user)} on {account.cluster.name}")


def _names(user: User) -> Iterator[str]:
    stem = _stem(user)
    return (f"{stem}{number if number > 1 else ''}" for number in range(1, 1000))


def _stem(user: User) -> str:
    """The mail address's local part in plain letters: mei.lin@… → fp-mei-lin. Never one that was another's."""
    plain = (
        unicodedata.normalize("NFKD", user.email.partition("@")[0]).encode("ascii", "ignore").decode().lower()
    )
    return settings.POSIX_PREFIX + (re.sub(r"[^a-z0-9]+", "-", plain).strip("-")[:20] or "member")
