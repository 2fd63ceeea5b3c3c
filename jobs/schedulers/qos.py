"""Budgets in Slurm's words: a QOS for each allocation, and the accounts that may use no other. Pure; proven on 22.05.

Traps: sacctmgr shows what slurmdbd was told, and only scontrol shows what the controller enforces and has counted.
The count of running jobs grows once in a PriorityCalcPeriod, by default five minutes, and is printed in whole
minutes. A limit of 0 lets nothing run; "N" is none at all.
"""

import re
from collections.abc import Sequence
from datetime import datetime

from jobs.schedulers import Answer, AnswerError, Call
from jobs.spec import AccountSeen, BudgetSeen, FencesSeen

AT_ONCE = 500  # accounts in one call: a program's argument has an end
QOS_LINE = re.compile(r"^QOS=([^\s(]+)\(\d+\) (.*)$", re.MULTILINE)
RUNNING = re.compile(r"\bGrpJobs=[^\s(]*\((\d+)\)")
GPU_MINUTES = re.compile(r"\bGrpTRESMins=(?:\S*,)?gres/gpu=(N|\d+)\((\d+)\)")


class Qos:
    """The part of the Scheduler protocol that keeps budgets, for Slurm."""

    def set_budget(self, name: str, gpu_minutes: int) -> Call:
        return Call("sacctmgr-qos", (name, str(gpu_minutes)))

    def allow_budgets(self, cluster: str, account: str, names: Sequence[str]) -> Call:
        return Call("sacctmgr-budget", (cluster, account, *names))

    def read_change(self, answer: Answer) -> str:
        """Why it was not made, in the scheduler's words; "" if it was."""
        if answer.exit_code == 0:
            return ""
        said = " ".join(f"{answer.stderr} {answer.stdout}".split())[:200]
        return said.removeprefix("gateway: ") or "no answer in time"

    def fences(self, cluster: str, accounts: Sequence[str]) -> list[Call]:
        """What tells of all budgets, and who may use them."""
        some = [accounts[at : at + AT_ONCE] for at in range(0, len(accounts), AT_ONCE)]
        shown = [Call("sacctmgr-show-budget", (cluster, *names)) for names in some]
        return [Call("scontrol-qos"), Call("sacctmgr-show-qos"), *shown]

    def read_fences(self, answers: Sequence[Answer], at: datetime) -> FencesSeen:
        counted, flags, *associations = map(_whole, answers)
        keeping = {name for name, told in _columns(flags, 2) if "NoDecay" in told.split(",")}
        budgets = {name: _budget(name, line, name in keeping) for name, line in QOS_LINE.findall(counted)}
        if not budgets:
            raise AnswerError("scontrol showed no QOS at all.", transient=True)
        rows = [row for text in associations for row in _columns(text, 4)]
        return FencesSeen(budgets, _accounts(rows), at)


def _whole(answer: Answer) -> str:
    if answer.exit_code != 0 or answer.truncated:
        said = " ".join(answer.stderr.split())[:200] or "nothing"
        raise AnswerError(f"The scheduler's budgets can't be read; it said: {said}", transient=True)
    return answer.stdout


def _columns(text: str, count: int) -> list[list[str]]:
    rows = [line.split("|") for line in text.splitlines()]
    if any(len(row) != count for row in rows):
        raise AnswerError("sacctmgr's answer can't be understood.", transient=False)
    return rows


def _budget(name: str, line: str, keeps: bool) -> BudgetSeen:
    running, minutes = RUNNING.search(line), GPU_MINUTES.search(line)
    if running is None or minutes is None:
        raise AnswerError(f"The scheduler doesn't say what was used of the QOS {name}.", transient=False)
    limit = None if minutes[1] == "N" else int(minutes[1])
    return BudgetSeen(limit, int(minutes[2]), int(running[1]), keeps)


def _accounts(rows: Sequence[Sequence[str]]) -> dict[str, AccountSeen]:
    own = {account: (names, default) for account, user, names, default in rows if not user}
    unlike = {account for account, user, *theirs in rows if user and (*theirs,) != own.get(account)}
    return {
        account: AccountSeen(frozenset(names.split(",")), default, account not in unlike)
        for account, (names, default) in own.items()
    }
