"""What we say to Slurm, and how its answers are read: the words are recorded from 22.05."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import pytest

from jobs.schedulers import Answer, AnswerError, Call, new_delimiter
from jobs.schedulers.slurm import QUEUE_FIELDS, Slurm
from jobs.spec import LONGEST_REASON, JobSpec, Verdict

SLURM = Slurm()
TOKEN = "abcdefghijklmnopqrstuvwxyz"
D = "@0123456789abcdef@"
SPEC = JobSpec(TOKEN, "proj1", "a100", 8, "a100", 2, 16, 64_000, 90, "train.sh")


def ok(*rows: tuple[str, ...]) -> Answer:
    return Answer(0, "".join(D.join((*row, "")) + "\n" for row in rows), "")


# ── Submitting ───────────────────────────────────────────────────────────────


def test_it_names_every_limit_for_a_node() -> None:
    call = SLURM.submit(SPEC)
    assert (call.verb, call.token, call.args[-1]) == ("sbatch", TOKEN, "train.sh")
    assert set(call.args[:-1]) == {
        "--account=proj1",
        "--partition=a100",
        "--nodes=2",
        "--ntasks-per-node=1",
        "--cpus-per-task=64",
        "--mem=256000M",
        "--gres=gpu:a100:4",
        "--time=90",
        "--signal=B:USR1@60",
        "--requeue",
    }


@pytest.mark.parametrize(("minutes", "noticed"), [(1, False), (2, False), (3, True)])
def test_only_a_job_that_surely_listens_by_then_gets_a_notice(minutes: int, noticed: bool) -> None:
    """Slurm may send it a minute earlier than it was asked to."""
    args = SLURM.submit(replace(SPEC, time_limit_minutes=minutes)).args
    assert ("--signal=B:USR1@60" in args) == noticed


@pytest.mark.parametrize(
    ("tasks", "at_once", "said"),
    [
        (10, None, "0-9"),
        (10, 3, "0-9%3"),
        (10, 10, "0-9"),
        (10, 500, "0-9"),
        (2, 1, "0-1%1"),
        (1000, 999, "0-999%999"),
    ],
)
def test_a_sweep_is_one_array(tasks: int, at_once: int | None, said: str) -> None:
    args = SLURM.submit(replace(SPEC, tasks=tasks, at_once=at_once)).args
    assert args[-2:] == (f"--array={said}", "train.sh")
    assert args[:-2] == SLURM.submit(SPEC).args[:-1]


def test_a_limit_of_tasks_means_nothing_to_a_plain_job() -> None:
    assert SLURM.submit(replace(SPEC, at_once=3)) == SLURM.submit(SPEC)


def test_an_untyped_gpu_has_no_empty_type() -> None:
    assert "--gres=gpu:4" in SLURM.submit(replace(SPEC, gpu_type="")).args


@pytest.mark.parametrize(("gpus", "nodes"), [(3, 2), (0, 1), (4, 0), (-2, 1)])
def test_gpus_that_cannot_be_spread_evenly_are_never_sent(gpus: int, nodes: int) -> None:
    with pytest.raises(ValueError, match="spread"):
        SLURM.submit(replace(SPEC, gpus=gpus, nodes=nodes))


@pytest.mark.parametrize("stdout", ["530\n", "530;firefly\n"])
def test_an_id_is_a_yes(stdout: str) -> None:
    said = SLURM.read_submission(TOKEN, Answer(0, stdout, ""))
    assert (said.token, said.verdict, said.scheduler_id) == (TOKEN, Verdict.ACCEPTED, "530")


REFUSED = [
    "Invalid account or account/partition combination specified",
    "Invalid partition name specified",
    "Requested node configuration is not available",
    "Requested time limit is invalid (missing or exceeds some limit)",
    "Job violates accounting/QOS policy (job submit limit, user's size and/or time limits)",
]


@pytest.mark.parametrize("words", REFUSED)
def test_a_refusal_is_a_no_in_the_schedulers_words(words: str) -> None:
    stderr = f"sbatch: error: CPU count\nsbatch: error: Batch job submission failed: {words}\n"
    said = SLURM.read_submission(TOKEN, Answer(1, "", stderr))
    assert (said.verdict, said.message) == (Verdict.REFUSED, words)


def test_what_the_gateway_refuses_was_not_sent() -> None:
    said = SLURM.read_submission(TOKEN, Answer(64, "", "gateway: No space left on device"))
    assert (said.verdict, said.message) == (Verdict.REFUSED, "No space left on device")


@pytest.mark.parametrize(
    "answer",
    [
        Answer(None, "", "gateway: ran out of time\n"),
        Answer(None, "530\n", ""),
        Answer(0, "", ""),
        Answer(0, "Submitted batch job 530\n", ""),
        Answer(-9, "", ""),
        Answer(1, "", ""),
        Answer(1, "", "something new\n"),
        Answer(
            1, "", "sbatch: error: Batch job submission failed: Socket timed out on send/recv operation\n"
        ),
        Answer(
            1,
            "",
            "sbatch: error: Batch job submission failed: Unable to contact slurm controller (send failure)\n",
        ),
        Answer(
            1, "", "sbatch: error: Batch job submission failed: Zero Bytes were transmitted or received\n"
        ),
        Answer(1, "", "sbatch: error: Batch job submission failed: Transport endpoint is not connected\n"),
    ],
    ids=str,
)
def test_whatever_may_have_been_sent_is_not_known(answer: Answer) -> None:
    assert SLURM.read_submission(TOKEN, answer).verdict is Verdict.UNKNOWN


@pytest.mark.parametrize(
    "answer",
    [
        Answer(75, "", "gateway: not started: no time left"),
        Answer(
            1,
            "",
            "sbatch: error: Batch job submission failed: Unable to contact slurm controller (connect failure)\n",
        ),
        Answer(
            1, "", "sbatch: error: Batch job submission failed: Slurm backup controller in standby mode\n"
        ),
    ],
    ids=str,
)
def test_only_what_surely_was_not_taken_may_be_sent_again(answer: Answer) -> None:
    assert SLURM.read_submission(TOKEN, answer).verdict is Verdict.RETRY


def test_words_are_fit_for_a_page() -> None:
    stderr = "sbatch: error: \x1b[31mbad\u202e name\r\n" + "x" * 5000
    message = SLURM.read_submission(TOKEN, Answer(1, "", stderr)).message
    assert message.isprintable() and len(message) <= 300


# ── Estimating ───────────────────────────────────────────────────────────────


def test_it_reads_when_a_job_would_start() -> None:
    stderr = (
        "sbatch: Job 3 to start at 2026-11-23T22:24:40 using 16 processors on nodes gpu01 in partition a100\n"
    )
    assert SLURM.read_estimate(Answer(0, "", stderr)) == datetime(2026, 11, 23, 22, 24, 40, tzinfo=UTC)


def test_no_time_is_not_now() -> None:
    assert SLURM.read_estimate(Answer(0, "", "")) is None


def test_an_estimate_that_is_refused_says_why() -> None:
    with pytest.raises(AnswerError, match="time limit"):
        SLURM.read_estimate(Answer(1, "", "allocation failure: Requested time limit is invalid\n"))


# ── The queue ────────────────────────────────────────────────────────────────

RUNNING = (
    *("530_1", "539", "fp-mei", "proj1", "a100", "RUNNING", "None"),
    *("2026-01-01T10:00:00", "2026-01-01T10:05:00", "2026-01-01T11:05:00", "gpu[01-02]", TOKEN),
)


def test_it_reads_an_entry() -> None:
    (entry,) = SLURM.read_queue(ok(RUNNING), D)
    assert (entry.scheduler_id, entry.job_id_raw, entry.user, entry.token) == (
        "530_1",
        "539",
        "fp-mei",
        TOKEN,
    )
    assert entry.started_at == datetime(2026, 1, 1, 10, 5, tzinfo=UTC)
    assert entry.nodes == "gpu[01-02]"


def test_an_unknown_start_is_none() -> None:
    (entry,) = SLURM.read_queue(ok((*RUNNING[:8], "N/A", "N/A", *RUNNING[10:])), D)
    assert (entry.started_at, entry.ended_at) == (None, None)


def test_a_reason_that_lists_many_nodes_is_cut() -> None:
    listing = "ReqNodeNotAvail, UnavailableNodes:" + ",".join(f"node{number}" for number in range(500))
    (entry,) = SLURM.read_queue(ok((*RUNNING[:5], "PENDING", listing, *RUNNING[7:])), D)
    assert entry.reason == listing[:LONGEST_REASON]


def test_a_name_cannot_forge_another_entry() -> None:
    forged = "x\n" + "|".join(RUNNING) + "\n" + "@0000000000000000@".join((*RUNNING, "")) + "\n\n"
    entries = SLURM.read_queue(ok((*RUNNING[:-1], forged), RUNNING), D)
    assert [entry.token for entry in entries] == [forged, TOKEN]


def test_every_call_has_a_word_of_its_own() -> None:
    assert len({new_delimiter() for _ in range(100)}) == 100
    assert all(field in "".join(SLURM.queue(D).args) for field in QUEUE_FIELDS)


def test_an_empty_queue_is_empty() -> None:
    assert SLURM.read_queue(Answer(0, "", ""), D) == ()


BAD = [
    Answer(1, "", "slurm_load_jobs error: Unable to contact slurm controller (connect failure)\n"),
    Answer(None, "", ""),
    Answer(0, D.join(RUNNING), ""),
    Answer(0, D.join((*RUNNING, "")), ""),
    Answer(0, D.join((*RUNNING[1:], "")) + "\n", ""),
    Answer(0, D.join((*RUNNING, "")) + "\n", "", truncated=True),
]


@pytest.mark.parametrize("answer", BAD, ids=range(len(BAD)))
def test_a_bad_answer_is_never_an_empty_queue(answer: Answer) -> None:
    with pytest.raises(AnswerError):
        SLURM.read_queue(answer, D)
    with pytest.raises(AnswerError):
        SLURM.read_found(answer, D)


# ── Looking up ───────────────────────────────────────────────────────────────


def test_it_asks_both_by_token() -> None:
    other = TOKEN[::-1]
    queue, accounting = (
        SLURM.find_in_queue([TOKEN, other], D),
        SLURM.find_in_accounting([TOKEN, other], WHEN, D),
    )
    assert f"--name={TOKEN},{other}" in queue.args and f"--name={TOKEN},{other}" in accounting.args
    assert "--starttime=2026-03-01T11:00:00" in accounting.args


WHEN = datetime(2026, 3, 1, 12, 0, tzinfo=timezone(timedelta(hours=1)))


def test_of_several_jobs_with_a_token_the_first_is_the_one() -> None:
    assert SLURM.read_found(ok(("1000", TOKEN), ("999", TOKEN)), D) == {TOKEN: "999"}


@pytest.mark.parametrize("said", ["534_3", "534_[4-9%2]", "534"])
def test_a_task_is_found_under_its_arrays_id(said: str) -> None:
    assert SLURM.read_found(ok((said, TOKEN), ("534_0", TOKEN)), D) == {TOKEN: "534"}
    assert f"--format=%F{D}%j{D}" in SLURM.find_in_queue([TOKEN], D).args
    assert "--format=JobID,JobName" in SLURM.find_in_accounting([TOKEN], WHEN, D).args


def test_nothing_found_is_nothing() -> None:
    assert SLURM.read_found(Answer(0, "", ""), D) == {}


# ── Cancelling ───────────────────────────────────────────────────────────────


def test_it_cancels_by_id_and_token() -> None:
    assert SLURM.cancel(TOKEN, "530") == Call("scancel", ("530",), TOKEN)


def test_a_job_that_is_gone_needs_no_cancelling() -> None:
    SLURM.read_cancel(Answer(0, "", ""))
    SLURM.read_cancel(Answer(1, "", "scancel: error: Kill job error on job id 9: Invalid job id specified\n"))


def test_a_failed_cancel_is_told() -> None:
    with pytest.raises(AnswerError) as caught:
        SLURM.read_cancel(Answer(1, "", "scancel: error: slurm_load_jobs error: Socket timed out\n"))
    assert caught.value.transient


# ── Records ──────────────────────────────────────────────────────────────────

RECORD = (
    *("firefly", "17", "539", "530_1", "proj1", "fp-mei", "a100", "normal", "2026-01-01T10:00:00"),
    *("2026-01-01T10:05:00", "2026-01-01T11:05:00", "3600", "00:00:00", "TIMEOUT", "0:15", "60"),
    "billing=8,cpu=8,gres/gpu=2,gres/gpu:a100=2,mem=8G,node=1",
)


def test_the_pull_asks_for_nothing_that_a_user_writes() -> None:
    call = SLURM.records(WHEN, WHEN + timedelta(days=1), D)
    (fields,) = [arg for arg in call.args if arg.startswith("--format=")]
    assert not {"JobName", "Comment", "WorkDir", "SubmitLine", "AdminComment"} & set(fields[9:].split(","))
    assert {"--allocations", "--duplicates", "--noconvert", "--parsable", f"--delimiter={D}"} <= set(
        call.args
    )
    assert {"--starttime=2026-03-01T11:00:00", "--endtime=2026-03-02T11:00:00"} <= set(call.args)


def test_it_reads_a_record() -> None:
    (run,) = SLURM.read_records(ok(RECORD), D).runs
    assert (run.job_id, run.job_id_raw, run.state, run.gpus, run.gpus_by_type) == (
        *("530_1", "539", "TIMEOUT", 2),
        (("a100", 2),),
    )
    assert (run.exit_code, run.time_limit_minutes) == ("0:15", 60)


def test_a_record_that_cannot_be_read_stops_no_other() -> None:
    records = SLURM.read_records(ok((*RECORD[:9], "soon", *RECORD[10:]), RECORD), D)
    assert len(records.runs) == 1
    assert "Start" in records.rejected[0].reason


def test_nothing_recorded_is_nothing() -> None:
    records = SLURM.read_records(Answer(0, "", ""), D)
    assert (records.runs, records.rejected) == ((), ())


@pytest.mark.parametrize(
    "answer",
    [
        Answer(1, "", "sacct: error: Problem talking to the database: Connection refused\n"),
        Answer(1, D.join((*RECORD, "")) + "\n", ""),
        Answer(None, D.join((*RECORD, "")) + "\n", ""),
        Answer(0, D.join((*RECORD, "")) + "\n", "", truncated=True),
        Answer(0, D.join((*RECORD, "")) + "\n" + D.join(RECORD[:5]), ""),
        Answer(0, D.join((*RECORD, "")), ""),
    ],
    ids=["refused", "failed", "late", "capped", "cut", "no line end"],
)
def test_a_bad_pull_is_never_a_small_one(answer: Answer) -> None:
    with pytest.raises(AnswerError):
        SLURM.read_records(answer, D)


# ── Capacity ─────────────────────────────────────────────────────────────────


def node(name: str, state: str, gres: str, used: str) -> str:
    return "".join(f"{field:<200}" for field in (name, state, gres, used)) + "\n"


def test_free_gpus_are_counted_once_per_node_and_only_where_jobs_can_run() -> None:
    text = (
        node("gpu01", "mix", "gpu:a100:8(S:0-1)", "gpu:a100:2(IDX:0-1)")
        + node("gpu01", "mix", "gpu:a100:8(S:0-1)", "gpu:a100:2(IDX:0-1)")
        + node("gpu02", "idle", "gpu:a100:4,gpu:h100:4", "gpu:a100:0(IDX:N/A),gpu:h100:0(IDX:N/A)")
        + node("gpu03", "drain", "gpu:a100:8", "gpu:a100:0(IDX:N/A)")
        + node("gpu04", "down*", "gpu:a100:8", "gpu:a100:0(IDX:N/A)")
        + node("cpu01", "idle", "(null)", "gpu:0")
    )
    assert SLURM.read_capacity(Answer(0, text, "")) == 14


def test_a_node_has_no_fewer_than_none_free_and_no_more_than_nodes_have() -> None:
    text = node("gpu01", "mix", "(null)", "gpu:a100:8(IDX:0-7)") + node(
        "gpu02", "idle", "gpu:a100:8", "gpu:0"
    )
    assert SLURM.read_capacity(Answer(0, text, "")) == 8
    assert SLURM.read_capacity(Answer(0, node("gpu01", "idle", f"gpu:{'9' * 60}", "gpu:0"), "")) == 0


def test_no_answer_is_not_no_gpus() -> None:
    assert SLURM.read_capacity(Answer(1, "", "error")) is None


# ── Associations ─────────────────────────────────────────────────────────────

CHAIN = ["portal", "uni", "lab", "proj"]


def test_what_is_there_is_not_made_again() -> None:
    shown = "portal|root|\nportal||fp-admin\nuni|portal|\nlab|uni|\nproj|lab|\nproj||fp-mei\n"
    assert SLURM.read_missing(CHAIN, "fp-mei", Answer(0, shown, "")) == ()


def test_what_is_missing_is_made_top_down() -> None:
    assert SLURM.read_missing(CHAIN, "fp-mei", Answer(0, "portal|root|\nuni|portal|\n", "")) == (
        Call("sacctmgr-account", ("lab", "uni")),
        Call("sacctmgr-account", ("proj", "lab")),
        Call("sacctmgr-user", ("fp-mei", "proj")),
    )


def test_no_answer_is_not_no_account() -> None:
    with pytest.raises(AnswerError):
        SLURM.read_missing(CHAIN, "fp-mei", Answer(1, "", "sacctmgr: error: slurmdbd: Connection refused"))


def test_an_association_that_is_still_there_is_told() -> None:
    still = Answer(0, "proj|lab|\nproj||fp-mei\n", "")
    with pytest.raises(AnswerError):
        SLURM.read_dissociated("proj", "fp-mei", [Answer(1, "", "Job(s) active"), still])
    SLURM.read_dissociated("proj", "fp-mei", [Answer(0, "", ""), Answer(0, "proj|lab|\n", "")])


# ── By their ids ─────────────────────────────────────────────────────────────


def test_jobs_are_named_by_their_ids_without_a_period() -> None:
    call = SLURM.named(["7", "8"], D)
    assert call.verb == "sacct"
    assert "--jobs=7,8" in call.args
    assert not any(arg.startswith("--starttime") for arg in call.args)


def named(submit: str, *, raw: str = "7", partition: str = "a100", limit: str = "30") -> tuple[str, ...]:
    tres = "billing=2,cpu=2,gres/gpu:a100=2,gres/gpu=2,mem=8000M,node=1"
    return (raw, submit, "fp-mei", "pqo", partition, "al-3", limit, tres, TOKEN)


def test_a_requeued_job_is_seen_as_it_was_first_submitted() -> None:
    answer = ok(named("2026-11-30T12:10:00"), named("2026-11-30T12:00:00"))
    (seen,) = SLURM.read_named(answer, D, datetime(2026, 11, 1, tzinfo=UTC))
    assert seen.submitted_at == datetime(2026, 11, 30, 12, tzinfo=UTC)
    assert (seen.token, seen.gpus, seen.time_limit_minutes, seen.qos) == (TOKEN, 2, 30, "al-3")


def test_a_job_of_long_ago_under_the_same_id_is_anothers() -> None:
    answer = ok(named("2025-01-01T12:00:00"), named("2026-11-30T12:00:00", limit="UNLIMITED"))
    (seen,) = SLURM.read_named(answer, D, datetime(2026, 11, 1, tzinfo=UTC))
    assert seen.time_limit_minutes is None
    assert seen.submitted_at.year == 2026
