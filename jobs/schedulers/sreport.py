"""sreport: what Slurm's own books say of a period, asked and read. Pure text; recorded from 22.05 in tests/data.

Traps that shape it: an account's own row holds the sums of all accounts below it, so only rows with a login are
added up. Whoever may not see other people's usage gets the accounts' whole sums and only their own rows, with exit
code 0: the rows must add up to the root's. Hours that are asked for are rounded down to those of slurmdbd's zone.
An hour that is not rolled up yet is an empty answer, as is one without any usage: whether it is rolled up, the
cluster's own utilization tells, which is there for every such hour.
"""

import re
from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import NamedTuple

from jobs.schedulers import Answer, AnswerError, Call

ROOT = "root"
DEVICES = "gres/gpu"
AMOUNT = re.compile(r"\d{1,18}", re.ASCII)
HOURS = "%Y-%m-%dT%H:00:00"


class AccountSums(NamedTuple):
    """GPU-seconds, of each account's own jobs and in all."""

    by_account: Mapping[str, int]
    whole: int

    @property
    def nobodys(self) -> int:
        """What no login's row has: reserved for whole accounts and idle, or not shown to us."""
        return self.whole - sum(self.by_account.values())


def account_sums(begin: datetime, end: datetime) -> Call:
    return _asked("accounts", begin, end)


def read_account_sums(answer: Answer) -> AccountSums:
    own: Counter[str] = Counter()
    totals: dict[str, int] = {}
    for account, login, amount in _rows(answer, 3):
        if login:
            own[account] += _amount(amount)
        else:
            totals[account] = _amount(amount)
    if own and ROOT not in totals:
        raise AnswerError("sreport shows no total of the whole cluster.", transient=False)
    sums = AccountSums({account: held for account, held in own.items() if held}, totals.get(ROOT, 0))
    if sums.nobodys < 0:
        raise AnswerError("sreport's rows add up to more than its total.", transient=False)
    return sums


def utilization(begin: datetime, end: datetime) -> Call:
    return _asked("utilization", begin, end)


def read_is_rolled_up(answer: Answer) -> bool:
    """Whether the books hold anything of the period."""
    return any(_amount(reported) for tres, reported in _rows(answer, 2) if tres == DEVICES)


def reservations(begin: datetime, end: datetime) -> Call:
    return _asked("reservations", begin, end)


def read_idle(answer: Answer) -> int:
    """GPU-seconds that were reserved and not used: none on 22.05, where a reservation is of nodes and never of devices."""
    return sum(_amount(idle) for _name, tres, idle in _rows(answer, 3) if tres == DEVICES)


def _asked(report: str, begin: datetime, end: datetime) -> Call:
    if begin.astimezone(UTC).minute or end.astimezone(UTC).minute:
        raise ValueError("sreport knows whole hours only")
    return Call("sreport", (report, f"{begin.astimezone(UTC):{HOURS}}", f"{end.astimezone(UTC):{HOURS}}"))


def _rows(answer: Answer, columns: int) -> list[list[str]]:
    if answer.exit_code is None:
        raise AnswerError("sreport did not end in time.", transient=True)
    said = " ".join(answer.stderr.split())[:300]
    # It may say that it could not ask and end well all the same: an empty answer beside an error is none.
    if answer.exit_code != 0 or (said and not answer.stdout):
        raise AnswerError(
            f"sreport ended with exit code {answer.exit_code} and said: {said or 'nothing'}", transient=True
        )
    if answer.truncated or (answer.stdout and not answer.stdout.endswith("\n")):
        raise AnswerError("The answer of sreport was cut off.", transient=True)
    rows = [line.split("|") for line in answer.stdout.splitlines()]
    if any(len(row) != columns for row in rows):
        raise AnswerError("A row of sreport has another number of columns.", transient=False)
    return rows


def _amount(text: str) -> int:
    if not AMOUNT.fullmatch(text):
        raise AnswerError("A figure of sreport is no whole number.", transient=False)
    return int(text)
