"""The file that `sacctmgr dump CLUSTER file=…` writes: the scheduler's tree of accounts, and who runs on which.

    Cluster - 'firefly':Fairshare=1:QOS='normal'
    Parent - 'root'
    Account - 'physics':Description='physics':Organization='northlake':Fairshare=1
    Parent - 'physics'
    User - 'mei':DefaultAccount='physics':Fairshare=1

A `Parent` line says below what the following lines stand. Values are quoted and not escaped. Lines that begin with #
are comments. Source: sacctmgr(1), "FLAT FILE DUMP AND LOAD", and what Slurm 22.05 writes.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from accounting.trees import AccountLine, UserLine

LINE = re.compile(
    r"(?P<kind>Cluster|Parent|Account|User) - (?:'(?P<quoted>[^']*)'|(?P<plain>[^':\s]+))(?P<rest>:.*)?"
)
# A quote ends a value only before the next option or at the line's end: O'Neill's group needs no escape.
OPTION = re.compile(r":(\w+)=('(?:[^']|'(?!:\w+=|$))*'|[^:]*)")
LONGEST = 4000
ROOT = "root"


@dataclass
class Dump:
    cluster: str = ""
    accounts: list[AccountLine] = field(default_factory=list)
    users: list[UserLine] = field(default_factory=list)
    bad: list[tuple[int, str]] = field(default_factory=list)  # line number, why it can't be taken


def read_dump(lines: Iterable[str]) -> Dump:
    """Every line is read, refused with a reason, or a comment. Never raises."""
    reader = _Reader()
    for number, line in enumerate(lines, start=1):
        text = line.strip()
        if text and not text.startswith("#"):
            reader.take(number, text)
    return reader.dump


class _Reader:
    def __init__(self) -> None:
        self.dump = Dump()
        self.here: str | None = ROOT  # below what the lines stand; None: below something that isn't known
        self.known = {ROOT}

    def take(self, number: int, text: str) -> None:
        if len(text) > LONGEST or not text.isprintable():
            self.refuse(number, "it is too long, or has characters that no name has")
            return
        found = LINE.fullmatch(text)
        name = ((found["quoted"] or found["plain"] or "") if found else "").lower()  # as Slurm folds it
        if found is None or not name:
            self.refuse(number, "it is no Cluster, Parent, Account or User line")
            return
        options = {key.lower(): value.strip("'") for key, value in OPTION.findall(found["rest"] or "")}
        self.understood(number, found["kind"], name, options)

    def understood(self, number: int, kind: str, name: str, options: dict[str, str]) -> None:
        if kind == "Cluster":
            self.dump.cluster = self.dump.cluster or name
        elif kind == "Parent":
            self.here = name if name in self.known else None
            if self.here is None:
                self.refuse(number, f"the account {name} was not named before")
        elif self.here is None:
            self.refuse(number, f"{name} stands below an account that was not named before")
        elif kind == "User":
            self.dump.users.append(UserLine(number, name, self.here))
        elif name in self.known:
            self.refuse(number, f"the account {name} was named before")
        else:
            self.known.add(name)
            described, organization = options.get("description", ""), options.get("organization", "")
            self.dump.accounts.append(AccountLine(number, name, self.here, described, organization))

    def refuse(self, number: int, why: str) -> None:
        self.dump.bad.append((number, why))
