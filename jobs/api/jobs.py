"""Jobs for programs: the same sight, the same checks and the same actions as the pages.

Times are UTC, time limits whole minutes, amounts integer GPU-seconds. Files are sent first, to uploads/ by tus 1.0;
a job then names them by their ids (the last part of an upload's address).
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from django.db.models import QuerySet
from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema
from rest_framework import exceptions, mixins, serializers
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounting.models import Cluster, Partition
from jobs import actions, cost, notices, quoting, reasons
from jobs.files import LOGS
from jobs.forms import (
    MAX_FILES,
    MOST_GPUS,
    MOST_HOURS,
    JobFilter,
    ShapeForm,
    SubmitForm,
    mine,
    partitions_open,
)
from jobs.models import Fetch, Job, JobFile, LogTail
from jobs.pressure import Busy
from jobs.serving import as_attachment, is_here, wanted
from jobs.spec import MOST_TASKS
from jobs.states import TaskState
from portal.actions.terms import TermsNotAccepted
from portal.api import Conflict, Endpoints, NoBodySerializer, Pages, StrictSerializer, WholeNumber, person
from portal.models import Project, User
from portal.permissions import REFUSALS, Permission, check_permission

STREAMS = tuple(LOGS)
NUMBER = r"[0-9]{1,18}"
FAILURE_TOLD_FOR = timedelta(seconds=30)  # after that, asking again tries again
AT = {
    "hours": "time_limit_minutes",
    "minutes": "time_limit_minutes",
    "uploads": "inputs",
    "at_once": "tasks_at_once",
    "": "non_field_errors",
}


# ── What a job looks like ────────────────────────────────────────────────────


class JobSerializer(serializers.ModelSerializer[Job]):
    project = serializers.SlugRelatedField[Project](slug_field="slug", read_only=True)
    cluster = serializers.SlugRelatedField[Cluster](slug_field="name", read_only=True)
    partition = serializers.SlugRelatedField[Partition](slug_field="name", read_only=True)
    owner = serializers.CharField(source="owner.name", read_only=True)
    explanation = serializers.SerializerMethodField(help_text="Why the job is as it is, in words.")

    class Meta:
        model = Job
        fields = (
            "id",
            "name",
            "owner",
            "project",
            "cluster",
            "partition",
            "gpus",
            "time_limit_minutes",
            "tasks",
            "tasks_at_once",
            "state",
            "reason",
            "explanation",
            "scheduler_id",
            "exit_code",
            "nodes",
            "created_at",
            "queued_at",
            "expected_start_at",
            "started_at",
            "ended_at",
            "confirmed_at",
            "cancel_requested_at",
            "outputs_listed_at",
        )

    def get_explanation(self, job: Job) -> str:
        return reasons.of_job(job).sentence


class CostSerializer(serializers.Serializer[cost.Cost]):
    held = serializers.IntegerField(
        source="worst", help_text="The most that it can cost, held until it ends."
    )
    charged = serializers.IntegerField(help_text="Of runs that ended, as the ledger has it.")
    running = serializers.IntegerField(help_text="Of the run that goes on: an estimate.")


class TaskCountsSerializer(serializers.Serializer[Job]):
    waiting = serializers.IntegerField()
    running = serializers.IntegerField()
    succeeded = serializers.IntegerField()
    failed = serializers.IntegerField()
    cancelled = serializers.IntegerField()


class JobDetailSerializer(JobSerializer):
    gpu_seconds = serializers.SerializerMethodField()
    task_counts = serializers.SerializerMethodField(
        help_text="How many tasks are where; null for a job of one task, and before it is on the cluster."
    )
    notice = serializers.SerializerMethodField(
        help_text="What is out of the ordinary with its cluster now, such as maintenance; empty: nothing."
    )

    class Meta:
        model = Job
        fields = (*JobSerializer.Meta.fields, "task_counts", "gpu_seconds", "notice")

    @extend_schema(responses=TaskCountsSerializer(allow_null=True))
    def get_task_counts(self, job: Job) -> dict[str, int] | None:
        if not job.task_states:
            return None
        return {state.name.lower(): job.task_states.count(state) for state in TaskState}

    def get_notice(self, job: Job) -> str:
        told = None if job.is_final else notices.of(job.cluster)
        return f"{told.title} {told.lost}" if told else ""

    @extend_schema(responses=CostSerializer)
    def get_gpu_seconds(self, job: Job) -> dict[str, int]:
        return dict(CostSerializer(cost.of_job(job, timezone.now())).data)


class FileSerializer(serializers.ModelSerializer[JobFile]):
    class Meta:
        model = JobFile
        fields = ("id", "kind", "path", "size", "sha256", "modified_at")


class LogSerializer(serializers.ModelSerializer[LogTail]):
    class Meta:
        model = LogTail
        fields = ("stream", "task", "text", "offset", "read_at")


class FetchSerializer(serializers.ModelSerializer[Fetch]):
    size = serializers.IntegerField(source="job_file.size", read_only=True)

    class Meta:
        model = Fetch
        fields = ("state", "received", "size")


# ── What is asked ────────────────────────────────────────────────────────────


class ShapeSerializer(StrictSerializer):
    """Where, and how much."""

    project = serializers.CharField(max_length=60, help_text="Its slug.")
    cluster = serializers.CharField(max_length=40)
    partition = serializers.CharField(max_length=60)
    gpus = WholeNumber(min_value=1, max_value=MOST_GPUS)
    time_limit_minutes = WholeNumber(min_value=1, max_value=MOST_HOURS * 60)
    tasks = WholeNumber(
        min_value=1,
        max_value=MOST_TASKS,
        default=1,
        help_text="So often the script runs, each with its own number from 0 on in FIREFLY_TASK, and GPUs and time of its own.",
    )

    def form_data(self, user: User) -> dict[str, Any]:
        """The same, as the page's form has it."""
        given = self.validated_data
        project = Project.objects.active().of_labs_of(user).filter(slug=given["project"]).first()
        partition = partitions_open().filter(cluster__name=given["cluster"], name=given["partition"]).first()
        unknown: dict[str, list[str]] = {}
        if project is None:
            unknown["project"] = [_("There is no such project to which you can submit.")]
        if partition is None:
            unknown["partition"] = [_("There is no such partition that takes jobs.")]
        if project is None or partition is None:
            raise exceptions.ValidationError(unknown)
        return {
            "project": str(project.pk),
            "partition": str(partition.pk),
            "gpus": str(given["gpus"]),
            "minutes": str(given["time_limit_minutes"]),
            "tasks": str(given["tasks"]),
        }


class NewJobSerializer(ShapeSerializer):
    """A job, with the ids of complete uploads."""

    name = serializers.CharField(max_length=100)
    script = serializers.UUIDField()
    inputs = serializers.ListField(child=serializers.UUIDField(), max_length=MAX_FILES, default=list)
    tasks_at_once = WholeNumber(
        min_value=1,
        max_value=MOST_TASKS,
        allow_null=True,
        default=None,
        help_text="So many tasks run side by side at most; null: as many as there is room for.",
    )

    def form_data(self, user: User) -> dict[str, Any]:
        given, shape = self.validated_data, super().form_data(user)
        script = str(given["script"])
        if not any(upload.is_complete for upload in mine(user, [given["script"]])):
            raise exceptions.ValidationError(
                {"script": [_("This upload has not arrived whole, or is gone.")]}
            )
        return shape | {
            "name": given["name"],
            "script": script,
            "uploads": [script, *map(str, given["inputs"])],
            "at_once": str(given["tasks_at_once"] or ""),
        }


class QuoteSerializer(serializers.Serializer[quoting.Quote]):
    cost = serializers.IntegerField(help_text="GPU-seconds, at most.")
    factor = serializers.DecimalField(max_digits=8, decimal_places=4)
    allocation = serializers.IntegerField(source="allocation.pk", default=None, allow_null=True)
    available = serializers.IntegerField(source="balance.available", default=0)
    after = serializers.IntegerField(help_text="What would be left.")
    allowance_left = serializers.IntegerField(
        source="allowance.left",
        default=None,
        allow_null=True,
        help_text="Of what the PI lets you use; null without a cap.",
    )
    problem = serializers.CharField(help_text="Why it can't be submitted; empty if it can.")


def checked(form: ShapeForm | SubmitForm | JobFilter) -> Mapping[str, Any]:
    """The form's answers, or its sentences at the API's names of the fields."""
    if form.is_valid():
        return form.cleaned_data
    errors: dict[str, list[str]] = {}
    for name, found in form.errors.as_data().items():
        for error in found:
            field = "script" if error.code == "script" else AT.get("" if name == "__all__" else name, name)
            errors.setdefault(field, []).extend(error.messages)
    raise exceptions.ValidationError(errors)


# ── The endpoints ────────────────────────────────────────────────────────────


class Jobs(mixins.RetrieveModelMixin, mixins.ListModelMixin, Endpoints[Job]):
    """Jobs that I may see: submit, follow, cancel; logs and files of those that I may read."""

    queryset = Job.objects.all()
    serializer_class = JobDetailSerializer
    lookup_value_regex = NUMBER
    parameters = frozenset({"q", "state", "project", "whose", "sort", "stream", "task"})

    def get_queryset(self) -> QuerySet[Job]:
        visible = Job.objects.visible_to(person(self.request))
        return visible.select_related("owner", "project__lab", "cluster", "partition")

    def shown(self) -> QuerySet[Job]:
        return Job.objects.with_names()

    def perform_content_negotiation(self, request: Request, force: bool = False) -> Any:
        return super().perform_content_negotiation(request, force or self.action == "content")

    @extend_schema(
        responses=JobSerializer(many=True),
        parameters=[
            OpenApiParameter("q", str, description="Part of the name, or the scheduler's number."),
            OpenApiParameter("state", str, many=True),
            OpenApiParameter("project", str, description="Its slug."),
            OpenApiParameter("whose", str, enum=["mine"]),
            OpenApiParameter(
                "sort", str, enum=sorted(JobFilter.SORTS), description="With - in front: downwards."
            ),
        ],
    )
    def list(self, request: Request) -> Response:
        form = JobFilter(person(request), request.query_params)
        checked(form)
        if form.order == JobFilter.NEWEST_FIRST and request.query_params.get("sort"):
            raise exceptions.ValidationError(
                {"sort": [_("Sort by one of: %(keys)s.") % {"keys": ", ".join(JobFilter.SORTS)}]}
            )
        page = self.paginate_queryset(form.narrow(self.get_queryset()).order_by(*form.order)) or []
        return self.get_paginated_response(JobSerializer(page, many=True).data)

    @extend_schema(request=NewJobSerializer, responses={201: JobDetailSerializer})
    def create(self, request: Request) -> Response:
        user = person(request)
        check_permission(user, Permission.SUBMIT_JOB)
        body = NewJobSerializer(data=request.data)
        body.is_valid(raise_exception=True)
        form = SubmitForm(user, body.form_data(user))
        asked = checked(form)
        try:
            job = actions.create_and_submit(
                by=user,
                name=asked["name"],
                script=asked["script"],
                inputs=asked["inputs"],
                task_count=form.task_count,
                tasks_at_once=asked["at_once"],
                **form.shape,
            )
        except actions.Refused as refused:
            raise exceptions.ValidationError(
                {AT.get(refused.field, refused.field): [refused.message]}
            ) from None
        except Busy as busy:
            raise TooMany(busy) from None
        except TermsNotAccepted as refused:
            page = request.build_absolute_uri(reverse("portal:terms"))
            raise exceptions.PermissionDenied(f"{refused} {page}") from None
        return Response(self._shown(job), status=201)

    @extend_schema(request=NoBodySerializer, responses=JobDetailSerializer)
    @action(detail=True, methods=["post"], serializer_class=NoBodySerializer)
    def cancel(self, request: Request, pk: str) -> Response:
        """Ask that the job ends. Its state changes when the scheduler says so."""
        job = self.get_object()
        NoBodySerializer(data=request.data).is_valid(raise_exception=True)
        try:
            actions.cancel(by=person(request), job=job)
        except actions.Refused as refused:
            raise Conflict(refused.message) from None
        return Response(self._shown(job))

    @extend_schema(
        responses=LogSerializer,
        parameters=[
            OpenApiParameter("stream", str, enum=STREAMS),
            OpenApiParameter("task", int, description="Of a job with several tasks; the first is 0."),
        ],
    )
    @action(detail=True, serializer_class=LogSerializer)
    def log(self, request: Request, pk: str) -> Response:
        """The end of a log, as far as it was read; asking makes the portal read on."""
        stream = request.query_params.get("stream", STREAMS[0])
        if stream not in STREAMS:
            raise exceptions.ValidationError(
                {"stream": [_("One of: %(known)s.") % {"known": ", ".join(STREAMS)}]}
            )
        job = self.get_object()
        task = job.task_called(request.query_params.get("task", "0"))
        if task is None:
            raise exceptions.ValidationError(
                {"task": [_("A whole number from 0 to %(last)s.") % {"last": job.tasks - 1}]}
            )
        tail = actions.want_log(by=person(request), job=job, stream=stream, task=task)
        return Response(LogSerializer(tail).data)

    @extend_schema(responses=FileSerializer(many=True))
    @action(detail=True, serializer_class=FileSerializer)
    def files(self, request: Request, pk: str) -> Response:
        """The files sent with the job and, when it has ended, those that it left."""
        pages = Pages()
        page = pages.paginate_queryset(self._readable().files.order_by("kind", "path"), request, self)
        return pages.get_paginated_response(FileSerializer(page, many=True).data)

    @extend_schema(
        responses={
            200: OpenApiResponse(OpenApiTypes.BINARY, description="The file."),
            202: OpenApiResponse(FetchSerializer, description="On its way from the cluster: ask again."),
        },
        parameters=[OpenApiParameter("file_id", int, OpenApiParameter.PATH)],
    )
    @action(detail=True, url_path=rf"files/(?P<file_id>{NUMBER})/content", serializer_class=FetchSerializer)
    def content(self, request: Request, pk: str, file_id: str) -> HttpResponseBase:
        """One of the files that the job left."""
        outputs = self._readable().files.filter(kind=JobFile.Kind.OUTPUT)
        file = get_object_or_404(outputs.select_related("job__project__lab"), pk=int(file_id))
        _tell_failure(file)
        fetch = wanted(file, by=person(request))
        if is_here(fetch):
            return as_attachment(fetch)
        return Response(FetchSerializer(fetch).data, status=202)

    def _readable(self) -> Job:
        job = self.get_object()
        if not job.files_readable_by(person(self.request)):
            raise exceptions.PermissionDenied(str(REFUSALS[Permission.READ_LAB_FILES]))
        return job

    def _shown(self, job: Job) -> Any:
        return JobDetailSerializer(self.get_queryset().get(pk=job.pk)).data


class TooMany(exceptions.APIException):
    """429: so much waits already that this has to come later."""

    status_code = 429
    default_code = "too_many"

    def __init__(self, busy: Busy) -> None:
        super().__init__(busy.sentence)
        self.wait = busy.retry_after - 1  # the problem document adds the second that is cut off


class FetchFailed(exceptions.APIException):
    status_code = 502
    default_code = "fetch_failed"


def _tell_failure(file: JobFile) -> None:
    """Say once that a fetch failed, instead of silently trying for ever."""
    last = file.fetches.order_by("-asked_at").first()
    if last and last.state == Fetch.State.FAILED and timezone.now() - last.asked_at < FAILURE_TOLD_FOR:
        raise FetchFailed(
            _(
                "The file could not be brought from the cluster: %(why)s. It is safe there; try again in a while."
            )
            % {"why": last.why}
        )


class Quote(APIView):
    """What a job would cost at most, and what would be left. Nothing is kept."""

    @extend_schema(request=ShapeSerializer, responses=QuoteSerializer)
    def post(self, request: Request) -> Response:
        user = person(request)
        check_permission(user, Permission.SUBMIT_JOB)
        body = ShapeSerializer(data=request.data)
        body.is_valid(raise_exception=True)
        form = ShapeForm(user, body.form_data(user))
        checked(form)
        offer = quoting.quote(by=user, task_count=form.task_count, **form.shape)
        return Response(QuoteSerializer(offer).data)
