"""The scheduler's codes, and ours, as sentences."""

from __future__ import annotations

import pytest

from accounting.models import Partition
from jobs.models import Job
from jobs.reasons import of_job, unreachable
from jobs.states import State


def job(state: str, reason: str, **facts: object) -> Job:
    partition = Partition(name="a100", gpu_type="a100", gpus_per_node=8, memory_per_gpu_mib=32_768)
    return Job(partition=partition, state=state, reason=reason, gpus=2, time_limit_minutes=90, **facts)


@pytest.mark.parametrize(
    ("state", "reason", "words"),
    [
        ("queued", "Resources", "Waiting for 2 free A100."),
        ("queued", "Priority", "ahead of this one"),
        ("queued", "QOSGrpGRESMinutes", "hours are used up"),
        ("queued", "AssocGrpBillingMinutes", "hours are used up"),
        ("queued", "AssocGrpGRESMinutes", "hours are used up"),
        ("queued", "QOSMaxGRESPerUser", "as much at once as is allowed"),
        ("queued", "AssocMaxJobsLimit", "as much at once as is allowed"),
        ("queued", "BeginTime", "starts it again"),
        ("queued", "Dependency", "another job"),
        ("queued", "ReqNodeNotAvail, UnavailableNodes:gpu01", "down or reserved"),
        ("queued", "None", "look at it in a moment"),
        ("queued", "", "in the scheduler's queue"),
        ("running", "None", "It is running."),
        ("running", "", "running"),
        ("new", "", "waits to be sent"),
        ("new", "ClusterUnreachable", "could not be reached"),
        ("submitting", "Unclear", "asks the scheduler whether it has it"),
        ("failed", "TIMEOUT", "time limit of 1\u202fh 30\u202fmin"),
        ("failed", "OUT_OF_MEMORY", "(64.0\u202fGiB)"),
        ("failed", "NODE_FAIL", "not your fault"),
        ("failed", "PREEMPTED", "Urgent work"),
        ("cancelled", "CANCELLED by 1001", "It was cancelled"),
        ("cancelled", "CancelledBeforeSent", "Nothing was charged"),
        ("succeeded", "COMPLETED", "ended well"),
    ],
)
def test_a_code_becomes_a_sentence(state: str, reason: str, words: str) -> None:
    assert words in of_job(job(state, reason)).sentence


@pytest.mark.parametrize("state", [State.QUEUED, State.FAILED])
def test_an_unknown_code_is_shown_as_it_is(state: State) -> None:
    assert "MarsInRetrograde" in of_job(job(state, "MarsInRetrograde")).sentence


def test_the_schedulers_own_words_are_kept() -> None:
    refused = of_job(job("failed", "RefusedByScheduler", message="Invalid account 100% wrong %s"))
    assert "Invalid account 100% wrong %s" in refused.sentence
    assert refused.todo


def test_the_exit_code_is_the_scripts() -> None:
    assert "exit code 3." in of_job(job("failed", "FAILED", exit_code="3:0")).sentence


def test_a_silent_cluster_says_since_when_and_that_nothing_is_lost() -> None:
    assert "since 14:02" in unreachable("14:02").sentence
    assert "safe" in unreachable("14:02").todo
    assert "results are safe" in unreachable("14:02", is_final=True).todo
