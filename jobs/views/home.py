"""Home, by role: what needs me now, then what runs, then what is left."""

from __future__ import annotations

from datetime import timedelta

from django.db.models import Case, F, QuerySet, When, Window
from django.db.models.functions import RowNumber
from django.http import HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.views.decorators.http import require_safe

from accounting.periods import last_twelve
from accounting.reports import balances, decisions, programmes, putting_right
from jobs import notices
from jobs.account_words import awaited_by
from jobs.context import clusters_seen
from jobs.models import Job
from jobs.states import FINAL, State
from jobs.views.clusters import stuck_jobs
from portal import places
from portal.lists import counts, first_and_count
from portal.models import Role, Terms, User
from portal.models.people import CENTRE_ROLES
from portal.permissions import Permission, has_permission
from portal.requests import PersonRequest

RECENT = timedelta(days=3)
MOST = 8


@require_safe
def home(request: PersonRequest) -> HttpResponse:
    user, now = request.user, timezone.now()
    jobs = Job.objects.visible_to(user).select_related("owner", "project", "partition", "cluster")
    sees_jobs = user.roles != frozenset({Role.FUNDER})
    standings = balances.my_standings(user, on=now.date())
    unfinished, unfinished_count = (
        first_and_count(jobs.unfinished().order_by("-pk"), MOST) if sees_jobs else ([], 0)
    )
    may_submit = has_permission(user, Permission.SUBMIT_JOB)
    has_run = may_submit or not user.roles  # or did, before the last role ended
    ended = _ended(jobs.filter(owner=user, ended_at__gte=now - RECENT)) if has_run else []
    stuck = {"stuck": stuck_jobs(now)} if has_permission(user, Permission.SEE_CLUSTERS) else {}
    waits = counts(**places.applications_for(user), **putting_right.waiting_for(user), **stuck)
    context = {
        "sees_jobs": sees_jobs,
        "waiting": decisions.waiting_for(user),
        "waits": waits,
        "join_requests": places.join_requests_for(user),
        "failed": [job for job in ended if job.state == State.FAILED],
        "unfinished": unfinished,
        "unfinished_count": unfinished_count,
        "ended": [job for job in ended if job.state != State.FAILED],
        "anything_waits": any(waits.values()),
        "awaited": awaited_by(user),
        "notices": notices.of_all(clusters_seen(request)) if sees_jobs and user.roles else [],
        "standings": standings,
        "at_risk": balances.at_risk(standings),
        "at_centre": bool(user.roles & {*CENTRE_ROLES}),
        "may_submit": may_submit,
        "terms": Terms.objects.unaccepted_by(user) if may_submit else None,
        "may_request": Role.PI in user.roles,
        "programme": _programme(user) if has_permission(user, Permission.SEE_PROGRAMME) else None,
    }
    return render(request, "home.html", context)


def _ended(jobs: QuerySet[Job]) -> list[Job]:
    """The last of those that failed, and the last of the others, in one query."""
    failed = Case(When(state=State.FAILED, then=1), default=0)
    last_first = F("ended_at").desc()
    place = Window(RowNumber(), partition_by=failed, order_by=last_first)
    return list(
        jobs.filter(state__in=FINAL).annotate(place=place).filter(place__lte=MOST).order_by(last_first)
    )


def _programme(user: User) -> programmes.Headline:
    """The last twelve months of what a funder pays for, or of everything."""
    return programmes.headline(programmes.scope_of(user), last_twelve(timezone.now().date()))
