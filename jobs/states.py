"""The few states that drive a job, the moves between them, and the scheduler's words that say so. Reasons inform; they are not states."""

from __future__ import annotations

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
UNSENT = (State.NEW, State.SUBMITTING)
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

# In the scheduler's queue, and in its accounting.
WAITING_WORDS = frozenset(
    {"PENDING", "REQUEUED", "REQUEUE_HOLD", "REQUEUE_FED", "SPECIAL_EXIT", "RESV_DEL_HOLD"}
)
HOLDING_WORDS = frozenset(
    {"RUNNING", "COMPLETING", "CONFIGURING", "SUSPENDED", "STOPPED", "SIGNALING", "STAGE_OUT", "RESIZING"}
)
ENDS = {"COMPLETED": State.SUCCEEDED, "CANCELLED": State.CANCELLED, "REVOKED": State.CANCELLED}
NEVER_FINAL = frozenset({"PENDING", "RUNNING", "SUSPENDED", "REQUEUED", "RESIZING"})


class TaskState(models.TextChoices):
    """Of one task of a sweep: a letter, for up to a thousand of them are kept in a row."""

    WAITING = "w", _("waiting")
    RUNNING = "r", _("running")
    SUCCEEDED = "s", _("done")
    FAILED = "f", _("failed")
    CANCELLED = "c", _("cancelled")

    @classmethod
    def of(cls, final: State) -> TaskState:
        return cls[final.name]
