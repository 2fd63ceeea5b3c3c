"""What the worker's processes tell each other of a cluster's login nodes, through the database; and the alarm to staff.

`jobs.failover` decides in each process; here its news are kept, and what others saw is brought to it.
"""

from __future__ import annotations

import logging

from django.db import transaction
from django.urls import reverse
from django.utils import timezone

from accounting.models import Cluster
from jobs import failover
from jobs.signs import LoginNodeSign
from jobs.ssh import HostKeyMismatch, LoginNode
from portal.emails import people_with, post
from portal.models import Role

log = logging.getLogger(__name__)


def share(cluster_id: int) -> None:
    """Keep what this process saw, and learn what the others did. Call it before a door is opened and after."""
    for seen in failover.take_news():
        _keep(seen)
    signs = {
        LoginNode(sign.host, sign.port, sign.host_key): sign
        for sign in LoginNodeSign.objects.filter(cluster=cluster_id)
    }
    now = timezone.now()
    failover.learn(
        behind={
            node: sign.behind_until
            for node, sign in signs.items()
            if sign.behind_until and sign.behind_until > now
        },
        distrusted=[node for node, sign in signs.items() if sign.distrusted_at],
        well=[node for node, sign in signs.items() if not sign.distrusted_at and not sign.failing_since],
    )


@transaction.atomic
def _keep(seen: failover.Seen) -> None:
    cluster = Cluster.objects.filter(name=seen.cluster).first()
    if cluster is None:
        return
    sign, _new = LoginNodeSign.objects.select_for_update().get_or_create(
        cluster=cluster,
        host=seen.node.host,
        port=seen.node.port,
        host_key=seen.node.host_key,
        defaults={"tried_at": seen.at},
    )
    sign.tried_at = seen.at
    if seen.error is None:
        sign.failing_since = sign.behind_until = None
        sign.problem = ""
    else:
        sign.failing_since = sign.failing_since or seen.at
        sign.behind_until = seen.at + failover.BEHIND
        sign.problem = str(seen.error)[:300]
    if isinstance(seen.error, HostKeyMismatch) and sign.distrusted_at is None:
        sign.distrusted_at = seen.at
        _raise_alarm(sign)
    sign.save()


def _raise_alarm(sign: LoginNodeSign) -> None:
    log.error(
        "cluster %s: %s has another host key than the pinned one: no login there", sign.cluster.name, sign
    )
    for staff in people_with(Role.STAFF):
        post(
            "host_key_changed",
            to=staff,
            key=f"host key {sign.pk} {sign.distrusted_at:%Y-%m-%dT%H:%M:%S}",
            path=reverse("jobs:health"),
            cluster=sign.cluster.title,
            node=str(sign),
        )
