"""A cluster's rules: set by staff, and what follows from them without anybody's decision. One transaction each."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.db import transaction
from django.db.models import Sum
from django.forms.models import model_to_dict
from django.utils import timezone
from django.utils.translation import gettext_noop

from accounting.actions import notices
from accounting.actions.awards import carry_out
from accounting.models import Allocation, AllocationRequest, Cluster, Policy, Review, policy_of
from portal.models import Project, User
from portal.models.audit import record
from portal.permissions import Permission, check_permission
from portal.transitions import step

A_YEAR = timedelta(days=365)
AT_ONCE = (AllocationRequest.Kind.NEW, AllocationRequest.Kind.SUPPLEMENT)
BY_POLICY = gettext_noop("Granted at once by the centre's policy for small requests.")


@transaction.atomic
def set_policy(*, by: User, cluster: Cluster, **rules: Any) -> Policy:
    """Set the fields of Policy that `rules` names. Allocations that were granted before keep their days."""
    check_permission(by, Permission.SET_POLICY)
    policy, _new = Policy.objects.select_for_update().get_or_create(cluster=cluster)
    before = model_to_dict(policy, rules)
    for name, value in rules.items():
        setattr(policy, name, value)
    policy.save(update_fields=list(rules))
    changed = {name: [before[name], value] for name, value in rules.items() if before[name] != value}
    record("policy set", policy, by=by, cluster=cluster.name, changed=changed)
    return policy


@transaction.atomic
def grant_at_once(*, request: AllocationRequest) -> Allocation | None:
    """Approve a submitted request that the policy grants without a decision; None: the centre decides.

    Small is small in sum: what a project was granted at once on a cluster in the last 365 days stays below the same
    limit, or ten small requests would be a large one that nobody read. Requests of a call are decided together.
    """
    limit = policy_of(request.cluster).grant_at_once_up_to
    if request.kind not in AT_ONCE or request.call_id or not 0 < request.gpu_seconds_asked <= limit:
        return None
    Project.objects.select_for_update(no_key=True).get(
        pk=request.project_id
    )  # two small requests at once are added up
    if granted_at_once(request.project, request.cluster) + request.gpu_seconds_asked > limit:
        return None
    step(
        request,
        AllocationRequest.State.APPROVED,
        by=None,
        project=request.project,
        decided_at=timezone.now(),
        note="policy",
    )
    review = Review.objects.create(
        request=request,
        verdict=Review.Verdict.APPROVED,
        gpu_seconds_awarded=request.gpu_seconds_asked,
        comment=BY_POLICY,
    )
    allocation = carry_out(by=None, request=request, review=review)
    notices.approved(request, review)
    return allocation


def granted_at_once(project: Project, cluster: Cluster) -> int:
    """GPU-seconds that the policy granted to a project on a cluster in the last 365 days."""
    by_policy = Review.objects.filter(
        request__project=project,
        request__cluster=cluster,
        reviewer=None,
        verdict=Review.Verdict.APPROVED,
        at__gt=timezone.now() - A_YEAR,
    )
    return int(by_policy.aggregate(sum=Sum("gpu_seconds_awarded", default=0))["sum"])
