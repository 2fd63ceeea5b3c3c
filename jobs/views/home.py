"""Home, by role: what needs me now, then what runs, then what is left."""

from __future__ import annotations

from datetime import timedelta

from django.db.models import Q
from django.http import HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.views.decorators.http import require_safe

from accounting.periods import last_twelve
from accounting.reports import balances, decisions, programmes
from jobs.models import Job
from jobs.states import State
from jobs.views.clusters import stuck_jobs
from portal.models import Role, User
from portal.models.people import CENTRE_ROLES
from portal.permissions import Permission, has_permission
from portal.requests import PersonRequest

RECENT = timedelta(days=3)
MOST = 8


@require_safe
def home(request: PersonRequest) -> HttpResponse:
    user, now = request.user, timezone.now()
    jobs = Job.objects.visible_to(user).select_related("owner", "project", "partition", "cluster")
    unfinished = jobs.unfinished()
    mine = Q(owner=user)
    sees_jobs = user.roles != frozenset({Role.FUNDER})
    ended = jobs.final().filter(mine, ended_at__gte=now - RECENT).order_by("-ended_at")
    context = {
        "sees_jobs": sees_jobs,
        "waiting": decisions.waiting_for(user),
        "failed": list(ended.filter(state=State.FAILED)[:MOST]) if sees_jobs else [],
        "unfinished": list(unfinished.order_by("-pk")[:MOST]) if sees_jobs else [],
        "unfinished_count": unfinished.count() if sees_jobs else 0,
        "ended": list(ended.exclude(state=State.FAILED)[:MOST]) if sees_jobs else [],
        "standings": balances.my_standings(user, on=now.date()),
        "at_centre": bool(user.roles & {*CENTRE_ROLES}),
        "may_submit": has_permission(user, Permission.SUBMIT_JOB),
        "may_request": Role.PI in user.roles,
        "programme": _programme(user) if has_permission(user, Permission.SEE_PROGRAMME) else None,
        "stuck_count": stuck_jobs(now).count() if has_permission(user, Permission.SEE_CLUSTERS) else 0,
    }
    return render(request, "home.html", context)


def _programme(user: User) -> programmes.Programme:
    """The last twelve months of what a funder pays for, or of everything."""
    now = timezone.now()
    return programmes.programme(programmes.scope_of(user), last_twelve(now.date()), as_of=now)
