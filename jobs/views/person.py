"""A person, as whoever works with them or looks after them sees them: roles now and before, accounts, jobs."""

from __future__ import annotations

from django.db.models import Count, Q
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, render
from django.views.decorators.http import require_safe

from jobs import states
from jobs.account_words import in_words
from jobs.models import Job
from portal.actions.access import has_second_factor, may_reset, may_switch
from portal.actions.memberships import may_change, may_end, may_move
from portal.lists import page_of
from portal.models import Membership, User
from portal.requests import PersonRequest


@require_safe
def person(request: PersonRequest, pk: int) -> HttpResponse:
    found = get_object_or_404(User.objects.visible_to(request.user), pk=pk)
    roles = Membership.objects.visible_to(request.user).filter(user=found)
    roles = roles.select_related("user", "lab__institution", "institution", "funder")
    now = list(roles.current().order_by("started_at"))
    before = roles.exclude(ended_at=None).order_by("-ended_at", "-pk")
    accounts = found.cluster_accounts.select_related("cluster").order_by("cluster__title")
    jobs = (
        Job.objects.visible_to(request.user)
        .filter(owner=found)
        .aggregate(
            unfinished=Count("pk", filter=~Q(state__in=states.FINAL)),
            ended=Count("pk", filter=Q(state__in=states.FINAL)),
        )
    )
    context = {
        "person": found,
        "oneself": found == request.user,
        "may_switch": may_switch(request.user, found),
        "may_reset": may_reset(request.user, found) and has_second_factor(found),
        "now": [
            (one, may_end(request.user, one), may_change(request.user, one), may_move(request.user, one))
            for one in now
        ],
        "page": page_of(request, before),
        "accounts": [in_words(account) for account in accounts],
        "jobs": jobs,
    }
    return render(request, "jobs/person.html", context)
