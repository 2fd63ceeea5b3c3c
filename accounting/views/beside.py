"""What stands beside a request: the project's publications, and attached PDFs."""

from __future__ import annotations

from django.contrib import messages
from django.core.exceptions import ValidationError
from django.http import FileResponse, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST, require_safe

from accounting.actions import attachments, publications
from accounting.forms.outcomes import AttachmentForm, PublicationForm
from accounting.forms.requests import RequestForm
from accounting.models import AllocationRequest
from accounting.serving import as_file
from accounting.views.asking import asking_page, changeable, subject_of
from accounting.views.requests import visible_requests
from portal.requests import PersonRequest
from portal.transitions import Overtaken


@require_POST
def publication_add(request: PersonRequest, pk: int) -> HttpResponse:
    asked = changeable(request, pk)
    form = PublicationForm(request.POST)
    if form.is_valid():
        try:
            publications.add_publication(by=request.user, project=asked.project, **form.cleaned_data)
            return _back(asked)
        except ValidationError as error:
            form.add_error(None, error)
    return asking_page(request, RequestForm(subject=subject_of(asked)), publication=form)


@require_POST
def publication_remove(request: PersonRequest, pk: int, publication_pk: int) -> HttpResponse:
    asked = changeable(request, pk)
    publication = get_object_or_404(asked.project.publications, pk=publication_pk)
    publications.remove_publication(by=request.user, publication=publication)
    return _back(asked)


@require_POST
def attachment_add(request: PersonRequest, pk: int) -> HttpResponse:
    asked = changeable(request, pk)
    form = AttachmentForm(request.POST, request.FILES)
    if form.is_valid():
        file = form.cleaned_data["file"]
        try:
            attachments.attach(by=request.user, request=asked, name=file.name, chunks=file.chunks())
            return _back(asked)
        except ValidationError as error:
            form.add_error("file", error)
        except Overtaken as overtaken:
            messages.warning(request, str(overtaken))
            return redirect("accounting:request", asked.pk)
    return asking_page(request, RequestForm(subject=subject_of(asked)), attachment=form)


@require_POST
def attachment_remove(request: PersonRequest, pk: int, file_pk: int) -> HttpResponse:
    asked = changeable(request, pk)
    attachment = get_object_or_404(asked.attachments.select_related("request__project__lab"), pk=file_pk)
    try:
        attachments.remove_attachment(by=request.user, attachment=attachment)
        messages.success(request, _("“%(name)s” is removed.") % {"name": attachment.name})
    except Overtaken as overtaken:
        messages.warning(request, str(overtaken))
        return redirect("accounting:request", asked.pk)
    return _back(asked)


@require_safe
def attachment(request: PersonRequest, pk: int, file_pk: int) -> FileResponse:
    """As a file to save: nothing of it runs here. Visible to whom the request is."""
    asked = get_object_or_404(visible_requests(request), pk=pk)
    return as_file(get_object_or_404(asked.attachments.all(), pk=file_pk))


def _back(asked: AllocationRequest) -> HttpResponse:
    return redirect(reverse("accounting:request_edit", args=[asked.pk]) + "#beside")
