"""Where is the road from a person's click to the scheduler broken? One line for each part, with what to do now.

Reads only: what worker and poller noted in the database, and what the web process can ask by itself (Redis, its disk).
Nothing here speaks to a cluster. Behind a broken part, nobody knows: that is said, too.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from django.conf import settings
from django.db.models import Count, Max
from django.utils import timezone
from django.utils.translation import gettext as _

from accounting.models import Cluster, Maintenance
from jobs.models import ClusterHealth, Job
from jobs.signs import Link, LoginNodeSign, Pulse
from jobs.states import State
from portal import readiness
from portal.words import exact, filesize

SILENT = timedelta(seconds=45)  # a program that was seen at work no later has missed four of its signs
OLD = timedelta(minutes=2)  # an answer of a cluster that is older should have been followed by another
FULL, NEARLY_FULL = 1 << 30, 10 << 30  # bytes left on the disk of uploads
NO_ROOM = ("DiskFull", "FileRefused")
ORDER = (Link.SETTINGS, Link.SSH, Link.GATEWAY, Link.SLURMCTLD, Link.SLURMDBD)


@dataclass(frozen=True)
class Hop:
    """One part of the road. `tone` as the state component has it; `since`: in this state, or last seen well."""

    key: str
    name: str
    tone: str
    word: str
    said: str = ""
    todo: str = ""
    since: datetime | None = None
    sign: LoginNodeSign | None = None  # of a login node whose host key staff have to look at

    @property
    def is_broken(self) -> bool:
        return self.tone == "bad"


@dataclass(frozen=True)
class Road:
    """Parts that lie behind each other. `cluster` is None for what all clusters share."""

    cluster: Cluster | None
    hops: tuple[Hop, ...]

    @property
    def broken(self) -> Hop | None:
        """The first one: what is behind it may be well."""
        return next((hop for hop in self.hops if hop.is_broken), None)


def roads(now: datetime | None = None) -> list[Road]:
    """The portal's own first, then that of each cluster. Five queries."""
    now = now or timezone.now()
    own = tuple(_portal(now))
    working = not any(hop.is_broken for hop in own if hop.key != "uploads")
    clusters = (
        Cluster.objects.filter(accepts_jobs=True)
        .select_related("health")
        .prefetch_related("login_node_signs")
    )
    left_alone = {one.cluster_id: one for one in Maintenance.objects.under_way(now)}
    full = _without_room()
    return [
        Road(None, own),
        *(
            Road(
                cluster,
                (*_cluster(cluster, left_alone.get(cluster.pk), working, now), _disk_of(cluster, full)),
            )
            for cluster in clusters
        ),
    ]


# ── The portal's own programs ────────────────────────────────────────────────


def _portal(now: datetime) -> Iterator[Hop]:
    yield Hop("database", _("Database"), "ok", _("answers"), since=now)
    _lengths, trouble = readiness.rings()
    if trouble:
        yield Hop(
            "redis", "Redis", "bad", _("does not answer"), trouble,
            _("Start Redis. Jobs are taken meanwhile; those that wait are sent when it is back, none is lost."),
        )  # fmt: skip
    else:
        yield Hop("redis", "Redis", "ok", _("answers"), since=now)
    pulses = {pulse.part: pulse.seen_at for pulse in Pulse.objects.all()}
    beat = _beat(pulses.get(Pulse.Part.BEAT), now)
    yield beat
    rung = not trouble and not beat.is_broken
    yield _worker(Pulse.Part.QUICK, pulses, now, rung=rung)
    yield _worker(Pulse.Part.FILES, pulses, now, rung=rung)
    yield _uploads(now)


def _beat(seen: datetime | None, now: datetime) -> Hop:
    name = _("Clock (beat)")
    if seen and now - seen <= SILENT:
        return Hop("beat", name, "ok", _("ticks"), since=seen)
    return Hop(
        "beat", name, "bad", _("stands still"), _("It rings the workers; without it, nothing is asked and nothing swept up."),
        _("Start the beat program again, once. Its log says why it ended."), seen,
    )  # fmt: skip


def _worker(part: Pulse.Part, pulses: dict[str, datetime], now: datetime, *, rung: bool) -> Hop:
    seen, name = pulses.get(part), str(part.label).capitalize()
    if seen and now - seen <= SILENT:
        return Hop(part, name, "ok", _("works"), since=seen)
    if not rung:
        return Hop(part, name, "wait", _("not known"), _("Nobody rings it now."), since=seen)
    return Hop(
        part, name, "bad", _("does not work"), _("It was rung, and did not take the ring."),
        _("Start the worker again, or more of them: all of its processes may be busy. No job is lost."), seen,
    )  # fmt: skip


def _uploads(now: datetime) -> Hop:
    name = _("Disk of the uploads")
    where = Path(settings.UPLOAD_ROOT)
    try:
        free = shutil.disk_usage(where if where.exists() else where.parent).free
    except OSError as error:
        return Hop(
            "uploads",
            name,
            "bad",
            _("can't be read"),
            str(error),
            _("Bring the disk back; uploads fail until then."),
        )
    said = _("%(free)s are free.") % {"free": filesize(free)}
    todo = _("Make room, or give it a larger disk: uploads are refused when it is full.")
    if free < FULL:
        return Hop("uploads", name, "bad", _("full"), said, todo)
    if free < NEARLY_FULL:
        return Hop("uploads", name, "warn", _("nearly full"), said, todo)
    return Hop("uploads", name, "ok", _("has room"), said, since=now)


# ── A cluster ────────────────────────────────────────────────────────────────


def _cluster(cluster: Cluster, alone: Maintenance | None, working: bool, now: datetime) -> Iterator[Hop]:
    health: ClusterHealth | None = getattr(cluster, "health", None)
    for sign in cluster.login_node_signs.all():
        yield _login_node(sign, now)
    seen = health.answered_at if health else None
    broken = health.broken if health else ""
    for link in ORDER:
        if link == Link.SETTINGS and broken != link:
            continue
        if alone is not None:
            yield Hop(link, str(link.label), "off", _("left alone"), alone.sentence, since=alone.begins_at)
        elif broken == link and health is not None:
            yield Hop(
                link, str(link.label), "bad", _("fails"), health.problem, _todo(link), health.broken_since
            )
        elif broken and ORDER.index(link) > ORDER.index(Link(broken)):
            yield Hop(
                link, str(link.label), "wait", _("not known"), _("The way there is broken."), since=seen
            )
        elif not broken and (seen is None or now - seen > OLD):
            said = "" if working else _("The portal's own programs don't ask now.")
            yield Hop(link, str(link.label), "wait", _("no news"), said, since=seen)
        else:
            yield Hop(link, str(link.label), "ok", _("answers"), since=seen if not broken else now)


def _login_node(sign: LoginNodeSign, now: datetime) -> Hop:
    name = _("Login node %(node)s") % {"node": sign}
    if sign.distrusted_at:
        return Hop(
            sign.key, name, "bad", _("another host key"),
            _("It is not the machine that was pinned. The portal does not log in there; nothing was sent to it."),
            _("Compare the key on the machine itself. If it was renewed, pin the new one in clusters.toml; if not, somebody is in between."),
            sign.distrusted_at, sign,
        )  # fmt: skip
    if sign.failing_since:
        said = sign.problem
        if sign.behind_until and sign.behind_until > now:
            others_first = _("The others are tried first until %(time)s.")
            said = f"{said} {others_first % {'time': exact(sign.behind_until)}}"
        return Hop(
            sign.key, name, "warn", _("could not be reached"), said,
            _("Look after its sshd and the network. The portal tries it again by itself."), sign.failing_since,
        )  # fmt: skip
    return Hop(sign.key, name, "ok", _("lets the portal in"), since=sign.tried_at)


def _todo(link: Link) -> str:
    return {
        Link.SETTINGS: _("Mend clusters.toml, or the key that it names, on the worker's host."),
        Link.SSH: _(
            "Try “ssh” to the login nodes from the worker's host; look at sshd and at the certificates' principals."
        ),
        Link.GATEWAY: _(
            "On a login node, look at the gateway and its gateway.json; install it anew from this version."
        ),
        Link.SLURMCTLD: _(
            "On the cluster: scontrol ping, systemctl status slurmctld. Jobs wait here meanwhile."
        ),
        Link.SLURMDBD: _(
            "On the cluster: sacctmgr ping, systemctl status slurmdbd. Jobs run; they end here when it is back."
        ),
    }[link]


def _without_room() -> dict[int, tuple[int, datetime]]:
    """By cluster: how many waiting jobs its disk had no room for, and since when the last was tried."""
    waiting = Job.objects.filter(state=State.NEW, reason__in=NO_ROOM).order_by().values_list("cluster")
    return {
        pk: (count, last) for pk, count, last in waiting.annotate(count=Count("pk"), last=Max("claimed_at"))
    }


def _disk_of(cluster: Cluster, full: dict[int, tuple[int, datetime]]) -> Hop:
    name = _("Disk on the cluster")
    if cluster.pk not in full:
        return Hop("disk", name, "ok", _("no complaint"))
    count, last = full[cluster.pk]
    return Hop(
        "disk", name, "bad", _("takes no files"), _("Jobs that wait because of it: %(count)s.") % {"count": count},
        _("Make room where the members' homes are, or raise their quotas; the jobs are sent by themselves."), last,
    )  # fmt: skip
