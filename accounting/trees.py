"""How a scheduler's tree of accounts becomes institutions, labs and projects. Knows nothing of the database.

- The first level below root is an institution, the second a lab, the third a project. What is the portal's own account
  is passed over: its children are of the first level too.
- An account at the first or second level on which somebody runs, or below which there is none, is a project as well.
- A flatter tree gets the missing levels: they have the same account. A deeper one is folded up: whatever lies below the
  second level is a project of that lab.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

ROOT = "root"
OWN = "firefly-portal"  # the organization by which the portal's own accounts are known


@dataclass(frozen=True)
class AccountLine:
    line: int
    name: str
    parent: str
    description: str = ""
    organization: str = ""


@dataclass(frozen=True)
class UserLine:
    line: int
    name: str
    account: str


@dataclass(frozen=True)
class Placed:
    """One account, and the accounts of the institution and lab that it is in."""

    account: AccountLine
    institution: str
    lab: str
    is_project: bool


def place(accounts: Sequence[AccountLine], users: Sequence[UserLine]) -> list[Placed]:
    """In the order of the file, where a parent stands before its children."""
    by_name = {account.name: account for account in accounts}
    parents = {account.parent for account in accounts}
    used = {user.account for user in users}
    placed = []
    for account in accounts:
        above = path_of(account, by_name)
        if above:
            deep = len(above) > 2
            leaf = account.name not in parents
            lab = above[1] if len(above) > 1 else above[0]
            placed.append(Placed(account, above[0], lab, deep or leaf or account.name in used))
    return placed


def path_of(account: AccountLine, by_name: dict[str, AccountLine]) -> list[str]:
    """The accounts from the first level down to this one; none for the portal's own."""
    path: list[str] = []
    here: AccountLine | None = account
    while here is not None and not is_own_root(here):
        path.insert(0, here.name)
        here = by_name.get(here.parent)
    return path


def is_own_root(account: AccountLine) -> bool:
    return account.parent == ROOT and account.organization == OWN
