"""Why a job waits, or how it ended: the scheduler's codes (and ours) as sentences for people. Pure.

A code that nobody has told us about is shown as it is, beside a plain sentence: never hidden, never guessed.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from jobs.models import MAX_ATTEMPTS, Job
from jobs.states import FINAL, State, TaskState
from portal.words import duration, filesize, grouped

Text = str | Promise
MIB = 1 << 20


@dataclass(frozen=True)
class Reason:
    """What is so, and what to do (empty: nothing)."""

    sentence: str
    todo: str = ""


NOTHING_TO_DO = gettext_lazy("You need not do anything.")
SET_ASIDE = gettext_lazy(
    "The centre's staff were told: they send it again, or give it up and say why. You can also cancel it."
)
ASK_STAFF = gettext_lazy("Tell the centre's staff the job's number.")
SUBMIT_AGAIN = gettext_lazy("Submit it again.")
SAVE_OFTEN = gettext_lazy("Save your state now and then, so that a new start goes on from there.")
LOOK_AT_LOG = gettext_lazy("The end of the log usually says why. Mend it and submit it again.")

# Of the portal itself: before the scheduler has the job.
OURS: dict[str, tuple[Text, Text]] = {
    "ClusterUnreachable": (
        gettext_lazy(
            "The cluster could not be reached, so the job was not sent yet. It is kept, and sent as soon as it can be."
        ),
        NOTHING_TO_DO,
    ),
    "SchedulerBusy": (
        gettext_lazy("The scheduler was too busy to take the job. It is sent again in a moment."),
        NOTHING_TO_DO,
    ),
    "NotSent": (gettext_lazy("The job surely did not reach the scheduler. It is sent again."), NOTHING_TO_DO),
    "Unclear": (
        gettext_lazy(
            "The job was sent, but the answer got lost. The portal asks the scheduler whether it has it before it sends anything again."
        ),
        NOTHING_TO_DO,
    ),
    "FileRefused": (
        gettext_lazy("The cluster did not take the job's files: %(message)s"),
        gettext_lazy("If this goes on, tell the centre's staff."),
    ),
    "LoginRefused": (
        gettext_lazy(
            "The cluster did not let the portal log in as you, so the job was not sent yet. It is kept, and tried again."
        ),
        gettext_lazy("If this goes on, tell the centre's staff: your account there may have to be mended."),
    ),
    "DiskFull": (
        gettext_lazy(
            "The cluster's disk has no room for the job's files (free / needed: %(message)s), so the job was not sent. Nothing was charged."
        ),
        gettext_lazy("Remove what you no longer need from your folder there, or tell the centre's staff."),
    ),
    "UploadGone": (
        gettext_lazy("A file of the job is no longer here: %(message)s. Nothing was charged."),
        gettext_lazy("Submit the job again with its files."),
    ),
    "NoLongerMember": (
        gettext_lazy(
            "You left the project's lab before the job was sent, so it was not sent. Nothing was charged."
        ),
        "",
    ),
    "ProjectClosed": (
        gettext_lazy(
            "The project was closed before the job was sent, so it was not sent. Nothing was charged."
        ),
        "",
    ),
    "GivenUp": (
        gettext_lazy(
            "The centre's staff gave it up, as it could not be sent: %(message)s. Nothing was charged."
        ),
        gettext_lazy("Submit it again, or ask the centre's staff."),
    ),
    "TasksFailed": (
        gettext_lazy("%(failed)s of %(tasks)s tasks failed."),
        gettext_lazy("The end of a failed task's log usually says why."),
    ),
    "CancelledBeforeSent": (gettext_lazy("It was cancelled before it was sent. Nothing was charged."), ""),
    "RefusedByScheduler": (
        gettext_lazy("The scheduler refused the job: %(message)s. Nothing was charged."),
        gettext_lazy("Change what it asks for and submit it again."),
    ),
}

# Why a job waits.
WAITING: dict[str, tuple[Text, Text]] = {
    "None": (gettext_lazy("The scheduler has it and will look at it in a moment."), ""),
    "Resources": (
        gettext_lazy("Waiting for %(gpus)s free %(gpu)s."),
        gettext_lazy("Fewer GPUs or a shorter time limit often start sooner."),
    ),
    "Priority": (gettext_lazy("Other jobs are ahead of this one in the queue."), NOTHING_TO_DO),
    "BeginTime": (
        gettext_lazy("The scheduler starts it again after a pause of about two minutes."),
        NOTHING_TO_DO,
    ),
    "Dependency": (gettext_lazy("It waits for another job to end."), NOTHING_TO_DO),
    "DependencyNeverSatisfied": (
        gettext_lazy("It waits for a job that ended otherwise than it was to end, so it can never start."),
        gettext_lazy("Cancel it."),
    ),
    "Licenses": (gettext_lazy("It waits for a software licence that others use now."), NOTHING_TO_DO),
    "Reservation": (gettext_lazy("It waits for a reservation to begin."), NOTHING_TO_DO),
    "ReqNodeNotAvail": (
        gettext_lazy("The nodes it needs are down or reserved, for maintenance for example."),
        gettext_lazy("A shorter time limit may let it run before the maintenance."),
    ),
    "NodeDown": (gettext_lazy("A node that it needs is down."), NOTHING_TO_DO),
    "Nodes required for job are DOWN": (
        gettext_lazy("The nodes it needs are down or reserved."),
        NOTHING_TO_DO,
    ),
    "PartitionDown": (gettext_lazy("This partition starts no jobs at the moment."), NOTHING_TO_DO),
    "PartitionInactive": (gettext_lazy("This partition starts no jobs at the moment."), NOTHING_TO_DO),
    "PartitionNodeLimit": (
        gettext_lazy("It asks for more nodes than this partition gives to one job."),
        gettext_lazy("Cancel it, and submit it with fewer GPUs."),
    ),
    "PartitionTimeLimit": (
        gettext_lazy("Its time limit is longer than this partition allows."),
        gettext_lazy("Cancel it, and submit it with a shorter one."),
    ),
    "BadConstraints": (
        gettext_lazy("No node of this partition can ever give what it asks for."),
        gettext_lazy("Cancel it, and submit it with fewer GPUs."),
    ),
    "JobHeldUser": (
        gettext_lazy("It is on hold: somebody held it on the cluster."),
        gettext_lazy("Release it there, or cancel it."),
    ),
    "JobHeldAdmin": (gettext_lazy("The centre's staff hold it back."), ASK_STAFF),
    "JobHoldMaxRequeue": (
        gettext_lazy("It was started too often without success, so the scheduler holds it back."),
        ASK_STAFF,
    ),
    "Prolog": (gettext_lazy("Its nodes are being made ready."), NOTHING_TO_DO),
    "Cleaning": (gettext_lazy("Its last run is still being cleared away."), NOTHING_TO_DO),
    "RaisedSignal": (gettext_lazy("It stopped itself to save its state, and starts again."), NOTHING_TO_DO),
    "AccountNotAllowed": (
        gettext_lazy("The scheduler does not let this project use this partition."),
        ASK_STAFF,
    ),
    "InvalidAccount": (gettext_lazy("The scheduler no longer knows this project."), ASK_STAFF),
    "InvalidQOS": (
        gettext_lazy("The hours that it was submitted on have ended, so the scheduler does not start it."),
        ASK_STAFF,
    ),
}

# Families of the above: budgets, and limits on how much runs at once.
WAITING_LIKE: tuple[tuple[re.Pattern[str], Text, Text], ...] = (
    (
        re.compile(r"(QOS|Assoc)(Grp|Max)[A-Za-z]*Minutes.*"),
        gettext_lazy(
            "Your project's hours are used up. Running jobs finish; this one starts when hours are added."
        ),
        gettext_lazy("Ask your PI to request more hours."),
    ),
    (
        re.compile(r"(QOS|Assoc|Association|Partition)[A-Za-z]*TimeLimit"),
        gettext_lazy("Its time limit is longer than is allowed."),
        gettext_lazy("Cancel it, and submit it with a shorter one."),
    ),
    (
        re.compile(
            r"(QOS|Assoc|Association)[A-Za-z]*(PerUser|PerAccount|PU|PA|Limit|PerJob|GRES|Cpu|CPU|Mem|Node|Jobs)[A-Za-z]*"
        ),
        gettext_lazy(
            "You or your project use as much at once as is allowed. It starts when another of your jobs ends."
        ),
        NOTHING_TO_DO,
    ),
)

# How a job ended.
ENDED: dict[str, tuple[Text, Text]] = {
    "COMPLETED": (gettext_lazy("It ended well."), ""),
    "FAILED": (gettext_lazy("The script ended with exit code %(exit_code)s."), LOOK_AT_LOG),
    "TIMEOUT": (
        gettext_lazy(
            "It reached its time limit of %(limit)s and was stopped. What it wrote until then is kept."
        ),
        gettext_lazy("Ask for more time, or save your state and go on from there."),
    ),
    "DEADLINE": (
        gettext_lazy("It could not end before its deadline, so the scheduler stopped it."),
        SUBMIT_AGAIN,
    ),
    "OUT_OF_MEMORY": (
        gettext_lazy("The job used more memory than it asked for (%(memory)s)."),
        gettext_lazy("Ask for more GPUs, whose memory comes along, or lower the batch size."),
    ),
    "NODE_FAIL": (
        gettext_lazy("A node broke under it: not your fault. The centre can give the hours back."),
        SUBMIT_AGAIN,
    ),
    "BOOT_FAIL": (
        gettext_lazy("Its nodes could not be started: not your fault. The centre can give the hours back."),
        SUBMIT_AGAIN,
    ),
    "LAUNCH_FAILED": (gettext_lazy("The cluster could not start it."), ASK_STAFF),
    "PREEMPTED": (
        gettext_lazy("Urgent work took its GPUs, as is the rule in a preemptible partition."),
        SAVE_OFTEN,
    ),
    "REVOKED": (gettext_lazy("The cluster took it back."), SUBMIT_AGAIN),
    "CANCELLED": (gettext_lazy("It was cancelled. Only what it used until then is charged."), ""),
}

STATES: dict[State, Text] = {
    State.NEW: gettext_lazy("It waits to be sent to the cluster."),
    State.SUBMITTING: gettext_lazy("It is being sent to the cluster, with its files."),
    State.QUEUED: gettext_lazy("It is in the scheduler's queue."),
    State.RUNNING: gettext_lazy("It is running."),
    State.SUCCEEDED: gettext_lazy("It ended well."),
    State.FAILED: gettext_lazy("It failed."),
    State.CANCELLED: gettext_lazy("It was cancelled."),
}


def of_job(job: Job) -> Reason:
    """Why the job is as it is."""
    state = State(job.state)
    known = None if state == State.RUNNING else _known(state, job.reason)
    if known is None:
        return Reason(_unknown(job) if job.reason and state != State.RUNNING else str(STATES[state]))
    sentence, todo = known
    if state == State.NEW and job.attempts >= MAX_ATTEMPTS:
        todo = SET_ASIDE
    return Reason(str(sentence) % _facts(job), str(todo))


def unreachable(since: str, *, is_final: bool = False) -> Reason:
    """The cluster gives no answer. `since` is the time of its last one, in words; empty if it never gave any."""
    sentence = (
        _("The cluster has not answered since %(since)s.") % {"since": since}
        if since
        else _("The cluster has not answered yet.")
    )
    if is_final:
        return Reason(
            sentence, _("Your results are safe on the cluster; they can be fetched when it answers again.")
        )
    return Reason(
        sentence,
        _("Your job is safe: it waits or runs on, and this page shows the news as soon as there are any."),
    )


def _known(state: State, code: str) -> tuple[Text, Text] | None:
    if code in OURS:
        return OURS[code]
    if state in FINAL:
        return ENDED.get(code.split(" ")[0])
    base = code.split(",")[0]
    if base in WAITING and (base != "None" or state == State.QUEUED):
        return WAITING[base]
    return next(
        ((sentence, todo) for pattern, sentence, todo in WAITING_LIKE if pattern.fullmatch(base)), None
    )


def _unknown(job: Job) -> str:
    if job.state in FINAL:
        return _("The scheduler says how it ended: %(code)s.") % {"code": job.reason}
    return _("The scheduler gives its reason: %(code)s.") % {"code": job.reason}


def _facts(job: Job) -> dict[str, str]:
    return {
        "gpus": grouped(job.gpus),
        "gpu": job.partition.gpu_label,
        "memory": filesize(job.gpus * job.partition.memory_per_gpu_mib * MIB),
        "tasks": grouped(job.tasks),
        "failed": grouped(job.task_states.count(TaskState.FAILED)),
        "limit": duration(job.time_limit_minutes * 60),
        "exit_code": job.exit_code.split(":")[0] or "?",
        "message": job.message.rstrip(".") or _("no reason given"),
    }
