"""The few states that drive a job, and the moves between them. Reasons inform; they are not states."""

from django.db import models
from django.utils.translation import gettext_lazy as _


class State(models.TextChoices):
    NEW = "new", _("waiting to be sent")
    SUBMITTING = "submitting", _("being sent")
    QUEUED = "queued", _("queued")
    RUNNING = "running", _("running")
    SUCCEEDED = "succeeded", _("succeeded")
    FAILED = "failed", _("failed")
    CANCELLED = "cancelled", _("cancelled")


FINAL = frozenset({State.SUCCEEDED, State.FAILED, State.CANCELLED})
UNFINISHED = tuple(state for state in State if state not in FINAL)
ON_CLUSTER = frozenset({State.QUEUED, State.RUNNING})  # what a poll can move

# Back-steps: submitting → new (surely not sent), running → queued (requeue).
# Sync may miss the running state of a short job: queued → final.
MOVES = {
    State.NEW: frozenset({State.SUBMITTING, State.CANCELLED, State.FAILED}),
    State.SUBMITTING: frozenset({State.NEW, State.QUEUED, State.FAILED, State.CANCELLED}),
    State.QUEUED: frozenset({State.RUNNING, *FINAL}),
    State.RUNNING: frozenset({State.QUEUED, *FINAL}),
    State.SUCCEEDED: frozenset[State](),
    State.FAILED: frozenset[State](),
    State.CANCELLED: frozenset[State](),
}
