"""Projects begin as proposals: they come to life with the approval of their first request, and end with its rejection."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count

from django.core.exceptions import PermissionDenied
from django.db import IntegrityError, transaction
from django.utils.text import slugify
from django.utils.translation import gettext as _

from accounting.models import AllocationRequest
from portal.models import Funder, Institution, Lab, Project, User
from portal.models.audit import record
from portal.permissions import Permission, check_permission
from portal.transitions import advance

MAX_SLUG, MAX_ACCOUNT, MAX_PREFIX = 60, 63, 40
TAKEN = frozenset({"new"})  # /projects/new/ is a page


@transaction.atomic
def propose_project(
    *,
    by: User,
    lab: Lab,
    title: str,
    abstract: str,
    field_of_science: str = "",
    funder: Funder | None = None,
    grant_number: str = "",
) -> Project:
    """A proposed project. Hours are asked for it next: the centre decides on both together."""
    check_permission(by, Permission.REQUEST_HOURS, lab=lab)
    if lab.closed_at is not None:
        raise PermissionDenied(_("This lab is closed: nothing begins there any more."))
    project = _named(
        Project(
            lab=lab,
            title=title,
            abstract=abstract,
            field_of_science=field_of_science,
            funder=funder,
            grant_number=grant_number,
        )
    )
    record("project proposed", project, by=by, project=project)
    return project


def project_of_rejected(*, by: User, request: AllocationRequest) -> None:
    """A proposal whose only request was rejected is declined with it."""
    project = request.project
    others = AllocationRequest.objects.filter(project=project).exclude(pk=request.pk)
    alive = others.exclude(state__in=(AllocationRequest.State.REJECTED, AllocationRequest.State.WITHDRAWN))
    if project.state == Project.State.PROPOSED and not alive.exists():
        advance(project, Project.State.DECLINED, by=by, project=project)


def _named(project: Project) -> Project:
    """Save it under the first free names. Accounts are unique in the whole tree of the scheduler."""
    base = slugify(project.title) or project.lab.slug
    names = zip(_numbered(base, MAX_SLUG), _numbered(_account(project.lab, base), MAX_ACCOUNT), strict=True)
    for slug, account in names:
        if slug in TAKEN or _is_taken(slug, account):
            continue
        project.slug, project.account = slug, account
        try:
            with transaction.atomic():
                project.save()
            return project
        except IntegrityError:
            continue  # somebody took the name in this moment
    raise AssertionError("names never run out")


def _account(lab: Lab, base: str) -> str:
    return f"{lab.account[:MAX_PREFIX].rstrip('-._')}-{base}"


def _numbered(base: str, most: int) -> Iterator[str]:
    """ "x", "x-2", "x-3", …, each at most that long."""
    yield base[:most].rstrip("-_")
    for number in count(2):
        end = f"-{number}"
        yield base[: most - len(end)].rstrip("-_") + end


def _is_taken(slug: str, account: str) -> bool:
    return (
        Project.objects.filter(slug=slug).exists()
        or Project.objects.filter(account=account).exists()
        or Lab.objects.filter(account=account).exists()
        or Institution.objects.filter(account=account).exists()
    )
