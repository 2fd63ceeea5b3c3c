"""What a person says of a job, checked: the page and the API ask the same questions here."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast
from uuid import UUID

from django import forms
from django.core import signing
from django.core.exceptions import ValidationError
from django.db.models import QuerySet
from django.utils import timezone
from django.utils.functional import cached_property
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from accounting.models import Partition
from jobs import directives, paths, scripts
from jobs.models import Job, Upload, new_token
from jobs.numbers import WholeNumberField
from jobs.spec import MOST_TASKS
from jobs.states import State
from portal.forms.selects import PlainSelect, ProjectChoice
from portal.models import Project, User
from portal.words import duration, grouped

MAX_FILES = 1_000
MOST_GPUS = 1_000_000
MOST_HOURS = 100_000
TOKEN = re.compile(r"[0-9a-f]{26}", re.ASCII)


@dataclass(frozen=True)
class KeptFile:
    """An upload that a form comes back with."""

    id: UUID
    name: str
    size: int


def partitions_open() -> QuerySet[Partition]:
    """Where jobs can be sent through the portal."""
    return (
        Partition.objects.filter(cluster__accepts_jobs=True)
        .select_related("cluster__health")
        .prefetch_related("factors")
        .order_by("cluster__title", "name")
    )


def printable(value: str) -> None:
    if not value.isprintable():
        raise ValidationError(
            _("Use letters, digits, signs and blanks only: this has characters that can't be seen.")
        )


class ShapeForm(forms.Form):
    """Where, and how much: what the cost depends on."""

    project = forms.ModelChoiceField(
        Project.objects.none(),
        label=gettext_lazy("Project"),
        empty_label=gettext_lazy("Choose a project"),
        widget=PlainSelect,
    )
    partition = forms.ModelChoiceField(
        Partition.objects.none(),
        label=gettext_lazy("Partition"),
        empty_label=None,
        widget=forms.RadioSelect,
        error_messages={"required": gettext_lazy("Choose a partition.")},
    )
    gpus = WholeNumberField(label=gettext_lazy("GPUs"), least=1, most=MOST_GPUS)
    hours = WholeNumberField(label=gettext_lazy("Hours"), least=0, most=MOST_HOURS, required=False)
    minutes = WholeNumberField(label=gettext_lazy("Minutes"), least=0, most=MOST_HOURS * 60, required=False)
    tasks = WholeNumberField(label=gettext_lazy("Tasks"), least=1, most=MOST_TASKS, required=False)
    at_once = WholeNumberField(
        label=gettext_lazy("At once, at most"), least=1, most=MOST_TASKS, required=False
    )

    def __init__(self, user: User, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.user = user
        self.active = Project.objects.active().of_labs_of(user)
        field = self.choice("project")
        field.queryset = self.active.select_related("lab")
        field.choices = lambda: [("", field.empty_label), *self.projects]
        self.choice("partition").queryset = partitions_open()

    @cached_property
    def projects(self) -> list[tuple[int, str]]:
        """Key and title of those to choose from; asked for where they are shown."""
        return list(self.active.values_list("pk", "title"))

    def choice(self, name: str) -> forms.ModelChoiceField[Any]:
        return cast("forms.ModelChoiceField[Any]", self.fields[name])

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        partition = cleaned.get("partition")
        if self.has_error("gpus", "min_value"):
            self._say_how_many(partition)
        if partition:
            self._check_gpus(partition)
        self._check_time(partition)
        if self.has_error("tasks", "max_value"):
            del self.errors["tasks"]
            self.add_error("tasks", ValidationError(directives.too_many_tasks(), code="max_value"))
        return cleaned

    def _check_gpus(self, partition: Partition) -> None:
        gpus = self.cleaned_data.get("gpus")
        if gpus is None:
            return
        whole = partition.gpus_per_node
        if gpus > partition.gpu_count:
            self.add_error(
                "gpus",
                _("%(partition)s has %(count)s GPUs: ask for that many at most.")
                % {"partition": partition.name, "count": grouped(partition.gpu_count)},
            )
        elif gpus > whole and gpus % whole:
            self.add_error(
                "gpus",
                _("Above %(whole)s GPUs, a job takes whole nodes of %(whole)s: ask for %(less)s or %(more)s.")
                % {
                    "whole": whole,
                    "less": grouped(gpus // whole * whole),
                    "more": grouped((gpus // whole + 1) * whole),
                },
            )

    def _say_how_many(self, partition: Partition | None) -> None:
        """Instead of the field's own words, which know neither GPUs nor partitions."""
        text = _("At least 1 GPU.")
        if partition:
            text = _("At least 1 GPU, and at most %(count)s on %(partition)s.") % {
                "partition": partition.name,
                "count": grouped(partition.gpu_count),
            }
        del self.errors["gpus"]
        self.add_error("gpus", ValidationError(text, code="min_value"))

    def _check_time(self, partition: Partition | None) -> None:
        if "hours" in self.errors or "minutes" in self.errors:
            return
        total = (self.cleaned_data.get("hours") or 0) * 60 + (self.cleaned_data.get("minutes") or 0)
        if not total:
            self.add_error("hours", _("Say how long the job may run: at least one minute."))
        elif partition and total > partition.max_time_minutes:
            self.add_error(
                "hours",
                _("%(partition)s lets a job run for %(limit)s at most.")
                % {"partition": partition.name, "limit": duration(partition.max_time_minutes * 60)},
            )
        else:
            self.cleaned_data["time_limit_minutes"] = total

    @property
    def shape(self) -> dict[str, Any]:
        """Of each task: what `quoting.quote` and `actions.create_and_submit` ask for."""
        return {
            name: self.cleaned_data[name] for name in ("project", "partition", "gpus", "time_limit_minutes")
        }

    @property
    def task_count(self) -> int:
        return self.cleaned_data.get("tasks") or 1


class UploadsField(forms.Field):
    """Ids of uploads, as hidden inputs. Only the person's own, and only complete ones."""

    widget = forms.MultipleHiddenInput

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.owner: User | None = None

    def to_python(self, value: Any) -> list[Upload]:
        given = list(dict.fromkeys(value or []))
        if len(given) > MAX_FILES:
            raise ValidationError(
                _("A job may have %(most)s files. Put many small files into one archive.")
                % {"most": grouped(MAX_FILES)}
            )
        ids = [pk for text in given if (pk := as_uuid(text))]
        found = {upload.pk: upload for upload in mine(self.owner, ids)}
        uploads = [found[pk] for pk in ids if pk in found and found[pk].is_complete]
        if len(uploads) < len(given):
            raise ValidationError(
                _("Some files have not arrived whole, or were kept too long. Upload them again.")
            )
        return uploads


def mine(owner: User | None, ids: Sequence[UUID]) -> QuerySet[Upload]:
    return Upload.objects.filter(owner=owner, pk__in=ids, expires_at__gt=timezone.now())


def as_uuid(text: Any) -> UUID | None:
    try:
        return UUID(str(text))
    except ValueError:
        return None


class SubmitForm(ShapeForm):
    """A whole job: its name, its files, where, and how much."""

    name = forms.CharField(label=gettext_lazy("Name"), max_length=100, validators=[printable])
    uploads = UploadsField(
        label=gettext_lazy("Files"),
        error_messages={"required": gettext_lazy("Upload a script, and what it needs.")},
    )
    script = forms.CharField(label=gettext_lazy("Script"), required=False, widget=forms.HiddenInput)
    once = forms.CharField(required=False, widget=forms.HiddenInput)

    field_order = (
        "name",
        "uploads",
        "script",
        "project",
        "partition",
        "gpus",
        "hours",
        "minutes",
        "tasks",
        "at_once",
    )

    def __init__(self, user: User, *args: Any, **options: Any) -> None:
        super().__init__(user, *args, **options)
        cast(UploadsField, self.fields["uploads"]).owner = user

    def clean_uploads(self) -> list[Upload]:
        uploads: list[Upload] = self.cleaned_data["uploads"]
        try:
            paths.check_together(upload.path for upload in uploads)
        except paths.BadPath as error:
            raise ValidationError(error.sentence) from error
        return uploads

    def clean_once(self) -> str:
        return token_of(self.cleaned_data["once"])

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean()
        uploads = cleaned.get("uploads")
        if not uploads:
            return cleaned
        script = chosen_script(uploads, cleaned.get("script"))
        if script is None:
            self.add_error("uploads", _("Choose which of the files is the script to run."))
            return cleaned
        try:
            cleaned["examined"] = scripts.examine(script)
        except scripts.BadScript as error:
            self.add_error("uploads", ValidationError(f"{script.path}: {error.sentence}", code="script"))
        cleaned["script"] = script
        cleaned["inputs"] = [upload for upload in uploads if upload.pk != script.pk]
        return cleaned

    @property
    def kept_files(self) -> list[KeptFile]:
        """What to show again: everything of the person's own that has arrived, whatever is wrong with the rest."""
        given = self["uploads"].value() or []
        ids = [pk for text in given[:MAX_FILES] if (pk := as_uuid(text))]
        found = {upload.pk: upload for upload in mine(self.user, ids) if upload.is_complete}
        return [KeptFile(pk, found[pk].path, found[pk].size) for pk in dict.fromkeys(ids) if pk in found]


def chosen_script(uploads: Sequence[Upload], chosen: Any) -> Upload | None:
    """The upload that is to be run; a job's only file needs no choice."""
    if len(uploads) == 1:
        return uploads[0]
    wanted = as_uuid(chosen)
    return next((upload for upload in uploads if upload.pk == wanted), None)


# ── One form, one job: pressing the button twice must not submit twice ──────


def sealed_token() -> str:
    """A job's token, made when the form is shown. Sealed, so that nobody can choose one."""
    return signing.dumps(new_token(), salt="jobs.submit")


def token_of(sealed: str) -> str:
    try:
        token = signing.loads(sealed, salt="jobs.submit")
    except signing.BadSignature:
        return new_token()
    return str(token) if TOKEN.fullmatch(str(token)) else new_token()


class JobFilter(forms.Form):
    """What the list shows; all of it in the address."""

    SORTS: Mapping[str, tuple[str, ...]] = {
        "name": ("name", "-pk"),
        "state": ("state", "-pk"),
        "project": ("project__title", "-pk"),
        "gpus": ("gpus", "-pk"),
        "submitted": ("pk",),
        "started": ("started_at", "-pk"),
    }
    NEWEST_FIRST = ("-pk",)

    q = forms.CharField(label=gettext_lazy("Search"), required=False, max_length=100)
    state = forms.MultipleChoiceField(label=gettext_lazy("State"), choices=State.choices, required=False)
    project = ProjectChoice(
        label=gettext_lazy("Project"), empty_label=gettext_lazy("all projects"), required=False
    )
    whose = forms.ChoiceField(
        label=gettext_lazy("Whose"),
        choices=[("", gettext_lazy("everybody's I may see")), ("mine", gettext_lazy("only mine"))],
        required=False,
    )

    def __init__(self, user: User, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.user = user
        cast("ProjectChoice", self.fields["project"]).offer(Project.objects.visible_to(user))

    def narrow(self, jobs: QuerySet[Job]) -> QuerySet[Job]:
        """The jobs that fit what was asked. What could not be understood is left out, and its error shown."""
        self.is_valid()
        wanted = self.cleaned_data
        if wanted.get("q"):
            jobs = jobs.filter(name__icontains=wanted["q"]) | jobs.filter(scheduler_id=wanted["q"])
        if wanted.get("state"):
            jobs = jobs.filter(state__in=wanted["state"])
        if wanted.get("project"):
            jobs = jobs.filter(project=wanted["project"])
        if wanted.get("whose") == "mine":
            jobs = jobs.filter(owner=self.user)
        return jobs

    @property
    def order(self) -> tuple[str, ...]:
        """By ?sort=key or -key; newest first where that is missing or means nothing."""
        key = str(self.data.get("sort", ""))
        fields = self.SORTS.get(key.removeprefix("-"))
        if fields is None:
            return self.NEWEST_FIRST
        first, *rest = fields
        return (f"-{first}" if key.startswith("-") else first, *rest)
