"""Many invitations into one lab at once: first what would happen, line by line, then the same for real."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import Enum

from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from django.db import transaction
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from portal.actions.invitations import check_may_invite, invite
from portal.actions.joining import check_open
from portal.models import Invitation, Lab, Membership, Role, User
from portal.models.people import LAB_ROLES
from portal.pasted import Pasted

MOST = 200


class Fate(Enum):
    """What would become of a line."""

    NEW = "new"
    MEMBER = "member"
    INVITED = "invited"
    DUPLICATE = "duplicate"
    INVALID = "invalid"

    @property
    def words(self) -> str:
        return str(_WORDS[self])


_WORDS = {
    Fate.NEW: gettext_lazy("will be invited"),
    Fate.MEMBER: gettext_lazy("in the lab already"),
    Fate.INVITED: gettext_lazy("invited already"),
    Fate.DUPLICATE: gettext_lazy("stands above already"),
    Fate.INVALID: gettext_lazy("can't be invited"),
}


@dataclass(frozen=True)
class Line:
    """One person with their fate; `why` says what is wrong with an invalid one."""

    line: int
    email: str
    name: str
    role: str
    fate: Fate
    why: str = ""

    @property
    def role_words(self) -> str:
        return str(Role(self.role).label) if self.role in LAB_ROLES else self.role


def look_through(*, by: User, lab: Lab, people: Iterable[Pasted], role: str) -> list[Line]:
    """What inviting them would do; `role` for who is named without one. Reads only."""
    check_may_invite(by, lab)
    members = Membership.objects.current().filter(lab=lab).values_list("user__email", flat=True)
    invited = Invitation.objects.open().filter(lab=lab).values_list("email", flat=True)
    return list(_fates(people, role, {*members}, {*invited}))


@transaction.atomic
def invite_all(*, by: User, lab: Lab, people: Iterable[Pasted], role: str) -> list[Line]:
    """Invite those who are new; the lines say what was done, and to whom it was not."""
    check_may_invite(by, lab)
    check_open(lab)
    lines = look_through(by=by, lab=lab, people=people, role=role)
    for line in lines:
        if line.fate is Fate.NEW:
            invite(by=by, email=line.email, role=line.role, place=lab, name=line.name)
    return lines


def _fates(people: Iterable[Pasted], usual: str, members: set[str], invited: set[str]) -> Iterator[Line]:
    seen: set[str] = set()
    for person in people:
        email, role = person.email.lower(), _role(person.role, usual)
        why = _problem(person, role)
        if why:
            fate = Fate.INVALID
        elif email in seen:
            fate = Fate.DUPLICATE
        elif email in members:
            fate = Fate.MEMBER
        else:
            fate = Fate.INVITED if email in invited else Fate.NEW
        seen.add(email)
        yield Line(person.line, email, person.name, role, fate, why)


def _role(written: str, usual: str) -> str:
    """ "PI", "lab member", or its word in the reader's language → the role; what is none stays as written."""
    wanted = written.strip().lower()
    words = {str(role.label).lower(): role.value for role in LAB_ROLES}
    return words.get(wanted, wanted) if wanted else usual


def _problem(person: Pasted, role: str) -> str:
    try:
        validate_email(person.email)
    except ValidationError:
        return _("This is no e-mail address.")
    if len(person.email) > 254:
        return _("This address is too long.")
    if len(person.name) > 150:
        return _("This name is too long.")
    if role not in LAB_ROLES:
        return _("There is no such role in a lab: member or pi.")
    return ""
