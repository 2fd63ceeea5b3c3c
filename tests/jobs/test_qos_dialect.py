"""Budgets in Slurm's words: what scontrol and sacctmgr of 22.05 said, read."""

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from jobs.schedulers import Answer, AnswerError, Call
from jobs.schedulers.slurm import Slurm
from jobs.spec import AccountSeen, BudgetSeen
from tests.jobs.test_slurm_dialect import SPEC

SLURM = Slurm()
NOW = datetime(2026, 11, 24, tzinfo=UTC)
COUNTED = (Path(__file__).parent.parent / "data" / "scontrol-qos.txt").read_text()
FLAGS = "normal|\nal-4|NoDecay\nal-9|DenyOnLimit,NoDecay\nal-0|\n"
ASSOCIATIONS = """\
kid||al-11,al-12|al-11
kid|fp-ada|al-11,al-12|al-11
par||normal|
loose||al-12|al-12
loose|fp-mei|al-12,normal|al-12
"""


def ok(text: str) -> Answer:
    return Answer(0, text, "")


def test_limits_counts_and_flags_are_read() -> None:
    seen = SLURM.read_fences([ok(COUNTED), ok(FLAGS)], NOW)
    assert seen.at == NOW
    assert seen.budgets["normal"] == BudgetSeen(None, 0, 0, False)
    assert seen.budgets["al-4"] == BudgetSeen(60, 1, 0, True)
    assert seen.budgets["al-9"] == BudgetSeen(0, 0, 0, True)
    assert not seen.budgets["al-0"].keeps
    (live,) = (budget for budget in seen.budgets.values() if budget.running)
    assert live.running == 1


def test_who_may_use_what_is_read_and_whether_somebody_may_more() -> None:
    seen = SLURM.read_fences([ok(COUNTED), ok(FLAGS), ok(ASSOCIATIONS)], NOW)
    assert seen.accounts == {
        "kid": AccountSeen(frozenset({"al-11", "al-12"}), "al-11", True),
        "par": AccountSeen(frozenset({"normal"}), "", True),
        "loose": AccountSeen(frozenset({"al-12"}), "al-12", False),
    }


@pytest.mark.parametrize(
    "answers",
    [
        [Answer(1, "", "slurm_load_assoc_mgr_info: Access denied"), ok(FLAGS)],
        [Answer(None, "", "gateway: ran out of time"), ok(FLAGS)],
        [Answer(0, COUNTED, "", truncated=True), ok(FLAGS)],
        [ok(""), ok(FLAGS)],
        [ok("QOS=al-1(9) UsageRaw=14.0 GrpJobs=N(0) GrpTRESMins=cpu=N(0)\n"), ok(FLAGS)],  # GPUs not tracked
        [ok(COUNTED), ok("normal\n")],
        [ok(COUNTED), ok(FLAGS), Answer(1, "", "slurmdbd: Connection refused")],
    ],
)
def test_what_can_not_be_read_is_no_answer(answers: list[Answer]) -> None:
    with pytest.raises(AnswerError):
        SLURM.read_fences(answers, NOW)


def test_many_accounts_are_asked_for_in_parts() -> None:
    calls = SLURM.fences("firefly", [f"p{number}" for number in range(1001)])
    assert [call.verb for call in calls] == [
        "scontrol-qos",
        "sacctmgr-show-qos",
        *["sacctmgr-show-budget"] * 3,
    ]
    assert sum(len(call.args) - 1 for call in calls[2:]) == 1001


def test_changes_are_said_in_the_gateways_words() -> None:
    assert SLURM.set_budget("al-7", 60) == Call("sacctmgr-qos", ("al-7", "60"))
    allowed = SLURM.allow_budgets("firefly", "proj", ["al-7", "al-8"])
    assert allowed == Call("sacctmgr-budget", ("firefly", "proj", "al-7", "al-8"))


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (ok(" Modified qos...\n  al-7\n"), ""),
        (Answer(1, "", " Problem adding QOS: Access/permission denied\n"), "Problem adding QOS: Access/permission denied"),
        (Answer(64, "", "gateway: not a QOS of the portal: al-9"), "not a QOS of the portal: al-9"),
        (Answer(1, " Nothing modified\n", ""), "Nothing modified"),
        (Answer(None, "", ""), "no answer in time"),
    ],
)  # fmt: skip
def test_why_a_change_was_not_made(answer: Answer, why: str) -> None:
    assert SLURM.read_change(answer) == why


def test_a_job_names_its_budget_where_it_has_one() -> None:
    assert not any(option.startswith("--qos") for option in SLURM.submit(SPEC).args)
    assert "--qos=al-7" in SLURM.submit(replace(SPEC, qos="al-7")).args
