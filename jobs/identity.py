"""Who a person is on a cluster: the POSIX user's name and what the scheduler has to know of them."""

from __future__ import annotations

import re
import unicodedata

from django.conf import settings
from django.db import IntegrityError, transaction

from accounting.models import Cluster
from jobs.models import Association, ClusterAccount
from portal.models import Project, User


def account_for(user: User, cluster: Cluster, project: Project) -> ClusterAccount:
    """The person's account there, asked for if it is new, with the association to `project` noted. Inside a transaction."""
    account = ClusterAccount.objects.filter(user=user, cluster=cluster).first() or _ask(user, cluster)
    Association.objects.get_or_create(account=account, project=project)
    return account


def _ask(user: User, cluster: Cluster) -> ClusterAccount:
    stem = _stem(user)
    for number in range(1, 1000):
        name = f"{stem}{number if number > 1 else ''}"
        try:
            with transaction.atomic():
                return ClusterAccount.objects.create(user=user, cluster=cluster, username=name)
        except IntegrityError:
            taken = ClusterAccount.objects.filter(user=user, cluster=cluster).first()
            if taken:
                return taken
    raise RuntimeError(f"No free user name for {stem} on {cluster.name}")


def _stem(user: User) -> str:
    """The mail address's local part in plain letters: mei.lin@… → fp-mei-lin. Never one that was another's."""
    plain = (
        unicodedata.normalize("NFKD", user.email.partition("@")[0]).encode("ascii", "ignore").decode().lower()
    )
    return settings.POSIX_PREFIX + (re.sub(r"[^a-z0-9]+", "-", plain).strip("-")[:20] or "member")
