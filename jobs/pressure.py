"""How much may be under way before more is refused for a while: jobs not ended, not sent yet, submitted within a minute.

It protects the way to the cluster, not anybody's hours: whoever is told to wait loses nothing, and tries again.
"""

from __future__ import annotations

from collections import Counter
from datetime import timedelta

from django.conf import settings
from django.db.models import Count, Q
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from accounting.models import Cluster
from jobs.models import Job
from jobs.states import UNSENT
from portal.models import Project, User

MINUTE = timedelta(minutes=1)
DRAIN_SECONDS = 30  # until then some of those that wait were sent, if the cluster answers
RUN_SECONDS = 60  # jobs take their time: it is worth no earlier look


class Busy(Exception):
    """Not now. The sentence is for the person; `retry_after`: seconds, at least one."""

    def __init__(self, sentence: str, retry_after: int) -> None:
        super().__init__(sentence)
        self.sentence = sentence
        self.retry_after = retry_after


def check(*, by: User, project: Project, cluster: Cluster) -> None:
    """Raises Busy. Two queries."""
    _check_pace(by)
    waiting = under_way(by, project, cluster)
    if waiting["unfinished"] >= settings.JOBS_IN_FLIGHT_PER_PERSON:
        raise Busy(
            ngettext(
                "You have %(count)s unfinished job, the most that one person may have. Wait until it has ended.",
                "You have %(count)s unfinished jobs, the most that one person may have. Wait until some have ended.",
                waiting["unfinished"],
            )
            % {"count": waiting["unfinished"]},
            RUN_SECONDS,
        )
    if waiting["mine"] >= settings.JOBS_UNSENT_PER_PERSON:
        raise Busy(
            _(
                "%(count)s of your jobs wait to be sent, the most that one person may have. Try again when some have been sent."
            )
            % {"count": waiting["mine"]},
            DRAIN_SECONDS,
        )
    if waiting["ours"] >= settings.JOBS_UNSENT_PER_PROJECT:
        raise Busy(
            _(
                "%(count)s jobs of this project wait to be sent, the most that one project may have. Try again when some have been sent."
            )
            % {"count": waiting["ours"]},
            DRAIN_SECONDS,
        )
    if waiting["all"] >= settings.JOBS_UNSENT_PER_CLUSTER:
        raise Busy(
            _(
                "%(count)s jobs wait to be sent to %(cluster)s, the most that the portal keeps. Try again when some have been sent."
            )
            % {"count": waiting["all"], "cluster": cluster},
            DRAIN_SECONDS,
        )


def under_way(by: User, project: Project, cluster: Cluster) -> Counter[str]:
    """Of the person what has not ended, and what was not sent yet; of the project and the cluster, what was not sent."""
    mine, there = Q(owner=by), Q(project=project) | Q(cluster=cluster)
    jobs = Job.objects.unfinished().filter(mine | there & Q(state__in=UNSENT))
    groups = jobs.order_by().values_list("owner", "project", "cluster", "state").annotate(Count("pk"))
    found: Counter[str] = Counter()
    for owner_id, project_id, cluster_id, state, count in groups:
        is_unsent = state in UNSENT
        found["unfinished"] += count * (owner_id == by.pk)
        found["mine"] += count * (is_unsent and owner_id == by.pk)
        found["ours"] += count * (is_unsent and project_id == project.pk)
        found["all"] += count * (is_unsent and cluster_id == cluster.pk)
    return found


def _check_pace(by: User) -> None:
    """The job that would have to be older than a minute, for one more to be in the limit."""
    most = settings.SUBMISSIONS_PER_MINUTE
    earlier = (
        Job.objects.filter(owner=by).order_by("-pk").values_list("created_at", flat=True)[most - 1 : most]
    )
    left = [at + MINUTE - timezone.now() for at in earlier]
    if left and left[0] > timedelta():
        raise Busy(
            _(
                "You submitted %(count)s jobs within a minute, the most that one person may. Try again in a moment."
            )
            % {"count": most},
            int(left[0].total_seconds()) + 1,
        )
