"""The form in which a lab asks for hours. It saves itself while one types: what can't be taken yet is kept as typed."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.http import Http404, HttpResponse, JsonResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST

from accounting.actions import requests as actions
from accounting.actions.authors import check_may_write
from accounting.actions.missing import lacks_report
from accounting.forms.outcomes import AttachmentForm, PublicationForm
from accounting.forms.requests import RequestForm
from accounting.forms.subjects import Subject
from accounting.models import Allocation, AllocationRequest
from accounting.reports import past_runs
from accounting.views.projects import visible_projects
from accounting.views.requests import request_submit, said_of, visible_requests
from portal.lists import form_page
from portal.models import Project
from portal.permissions import Permission, check_permission
from portal.requests import PersonRequest
from portal.transitions import Overtaken

PRECISE = 9  # digits of a version that somebody can have seen


@form_page
def request_new(request: PersonRequest, slug: str) -> HttpResponse:
    subject = _new_subject(request, slug)
    form = _bound(request, subject)
    if form.is_valid():
        made = actions.request_hours(
            by=request.user,
            project=subject.project,
            kind=subject.kind,
            allocation=subject.allocation,
            submit=False,
            **form.wish,
        )
        return _onwards(request, made)
    return asking_page(request, form)


@require_POST
def request_new_autosave(request: PersonRequest, slug: str) -> HttpResponse:
    """The first save of a form makes the draft; from then on it is saved as that."""
    subject = _new_subject(request, slug)
    form = RequestForm(request.POST, subject=subject, draft=True)
    form.is_valid()
    wish = form.wish
    if subject.allocation is None and "cluster" not in wish:
        return JsonResponse({"sentence": _("Choose one of the clusters.")}, status=422)
    made = actions.request_hours(
        by=request.user,
        project=subject.project,
        kind=subject.kind,
        allocation=subject.allocation,
        submit=False,
        **wish,
    )
    return _saved(made)


@form_page
def request_edit(request: PersonRequest, pk: int) -> HttpResponse:
    asked = changeable(request, pk)
    if not asked.is_open:
        messages.warning(request, _("This request can no longer be changed."))
        return redirect("accounting:request", asked.pk)
    form = _bound(request, subject_of(asked))
    if not form.is_valid():
        return asking_page(request, form)
    try:
        overwrote = actions.change_request(by=request.user, request=asked, seen=_seen(request), **form.wish)
    except Overtaken as overtaken:
        messages.warning(request, str(overtaken))
        return redirect("accounting:request", asked.pk)
    if overwrote:
        messages.warning(request, _overwrote())
    return _onwards(request, asked)


@require_POST
def request_autosave(request: PersonRequest, pk: int) -> HttpResponse:
    asked = changeable(request, pk)
    form = RequestForm(request.POST, subject=subject_of(asked), draft=True)
    form.is_valid()
    try:
        overwrote = actions.change_request(
            by=request.user, request=asked, seen=_seen(request), quietly=True, **form.wish
        )
    except Overtaken as overtaken:
        return JsonResponse({"sentence": str(overtaken)}, status=409)
    return _saved(asked, sentence=_overwrote() if overwrote else "")


def asking_page(
    request: PersonRequest,
    form: RequestForm,
    publication: PublicationForm | None = None,
    attachment: AttachmentForm | None = None,
) -> HttpResponse:
    """The form with all that stands beside it."""
    subject = form.subject
    asked, project = subject.asked, subject.project
    context = {
        "form": form,
        "subject": subject,
        "project": project,
        "asked": asked,
        "usual": past_runs.usual_run(project),
        "lacks_report": asked is not None and lacks_report(asked),
        "changeable": _changeable_allocations(subject),
        "publication_form": publication or PublicationForm(),
        "attachment_form": attachment or AttachmentForm(),
        "publications": project.publications.all(),
        "attachments": asked.attachments.all() if asked else (),
    }
    return render(request, "accounting/request_form.html", context)


def changeable(request: PersonRequest, pk: int) -> AllocationRequest:
    """A request within sight that this person may change while it is with its lab."""
    asked: AllocationRequest = get_object_or_404(
        visible_requests(request)
        .select_related("allocation__cluster", "to_project")
        .prefetch_related("reviews__field_comments", "lines"),
        pk=pk,
    )
    check_may_write(request.user, asked)
    return asked


def subject_of(asked: AllocationRequest) -> Subject:
    return Subject(asked.project, asked.kind, asked.allocation, asked)


def _new_subject(request: PersonRequest, slug: str) -> Subject:
    """?kind=supplement&allocation=7; without, a new allocation."""
    project: Project = get_object_or_404(visible_projects(request), slug=slug)
    check_permission(request.user, Permission.REQUEST_HOURS, lab=project.lab)
    kind = request.GET.get("kind") or AllocationRequest.Kind.NEW
    if kind not in AllocationRequest.Kind.values:
        raise Http404
    actions.check_may_ask(project, kind)
    if kind == AllocationRequest.Kind.NEW:
        return Subject(project)
    return Subject(project, kind, _allocation(request, project))


def _allocation(request: PersonRequest, project: Project) -> Allocation:
    number = request.GET.get("allocation", "")
    if not (number.isascii() and number.isdecimal() and len(number) <= 18):
        raise Http404
    return get_object_or_404(Allocation.objects.filter(project=project).select_related("cluster"), pk=number)


def _bound(request: PersonRequest, subject: Subject) -> RequestForm:
    if request.method != "POST":
        return RequestForm(subject=subject)
    return RequestForm(request.POST, subject=subject, draft="send" not in request.POST)


def _onwards(request: PersonRequest, asked: AllocationRequest) -> HttpResponse:
    """After saving: send it where that was pressed, or go on with what stands beside the form."""
    if "more" in request.POST:
        return redirect(reverse("accounting:request_edit", args=[asked.pk]) + "#beside")
    if "send" not in request.POST:
        messages.success(request, said_of(asked))
        return redirect("accounting:request", asked.pk)
    return request_submit(request, asked.pk)


def _saved(asked: AllocationRequest, sentence: str = "") -> JsonResponse:
    """What the form has to know after it saved itself."""
    return JsonResponse(
        {
            "version": asked.version,
            "saved_at": asked.changed_at.isoformat(),
            "edit": reverse("accounting:request_edit", args=[asked.pk]),
            "autosave": reverse("accounting:request_autosave", args=[asked.pk]),
            "sentence": sentence,
        }
    )


def _seen(request: PersonRequest) -> int | None:
    number = request.POST.get("version", "")
    return int(number) if number.isascii() and number.isdecimal() and len(number) <= PRECISE else None


def _overwrote() -> str:
    return _(
        "This request was also changed elsewhere, by a colleague or in another tab. What you see here is what counts now."
    )


def _changeable_allocations(subject: Subject) -> Any:
    """For whoever came to ask for new hours and may want to change what there is."""
    if subject.asked or subject.allocation or subject.project.state != Project.State.ACTIVE:
        return ()
    living = subject.project.allocations.filter(cluster__accepts_jobs=True).select_related("cluster")
    today = timezone.now().date()
    return [(allocation, allocation.usable_until >= today) for allocation in living.order_by("-end")[:3]]
