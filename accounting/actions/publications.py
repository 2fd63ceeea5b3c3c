"""What came out of a project: publications by their DOI."""

from __future__ import annotations

from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.utils.translation import gettext as _

from accounting.models import Publication
from portal.models import Project, User
from portal.models.audit import record
from portal.permissions import Permission, check_permission


@transaction.atomic
def add_publication(*, by: User, project: Project, doi: str, title: str, year: int) -> Publication:
    """`doi` as `forms.outcomes.parse_doi` gives it. Raises ValidationError if it is listed already."""
    check_permission(by, Permission.REQUEST_HOURS, lab=project.lab)
    try:
        with transaction.atomic():
            publication = Publication.objects.create(
                project=project, doi=doi, title=title, year=year, added_by=by
            )
    except IntegrityError:
        raise ValidationError({"doi": _("This publication is listed already.")}) from None
    record("publication added", publication, by=by, project=project, doi=doi)
    return publication


@transaction.atomic
def remove_publication(*, by: User, publication: Publication) -> None:
    check_permission(by, Permission.REQUEST_HOURS, lab=publication.project.lab)
    record("publication removed", publication, by=by, project=publication.project, doi=publication.doi)
    publication.delete()
