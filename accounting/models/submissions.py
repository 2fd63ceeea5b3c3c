"""What a request said each time it was sent: so that whoever reads it again sees what changed."""

from __future__ import annotations

from django.db import models
from django.utils import timezone
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from accounting.models.requests import AllocationRequest

# The parts of a request that the centre can comment on, by the names of the fields on its form.
COMMENTABLE: tuple[tuple[str, Promise], ...] = (
    ("cluster", _("Cluster")),
    ("lines", _("GPU-hours")),
    ("start", _("From")),
    ("end", _("Until")),
    ("justification", _("What the hours are for")),
    ("people", _("People")),
    ("software", _("Software")),
    ("publications", _("Publications")),
    ("attachments", _("Attachments")),
    ("title", _("Title")),
    ("abstract", _("Abstract")),
    ("field_of_science", _("Field of science")),
    ("funder", _("Funder")),
    ("grant_number", _("Grant number")),
)


class Submission(models.Model):
    """What a request said when it was sent for the `number`th time: text by the names of COMMENTABLE, hours in GPU-seconds."""

    request = models.ForeignKey(AllocationRequest, models.PROTECT, related_name="submissions")
    number = models.PositiveSmallIntegerField()
    content = models.JSONField()
    at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        ordering = ["number"]
        constraints = [models.UniqueConstraint(fields=["request", "number"], name="one_submission_a_number")]

    def __str__(self) -> str:
        return f"{self.request} ({self.number})"
