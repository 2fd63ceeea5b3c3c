"""Terms: the centre publishes a version, people accept it before their next job. One transaction each, with `by`."""

from __future__ import annotations

from django.db import IntegrityError, transaction
from django.utils.translation import gettext as _

from portal.models import Terms, TermsAcceptance, User
from portal.models.audit import record
from portal.permissions import Permission, check_permission
from portal.transitions import Overtaken


class TermsNotAccepted(Exception):
    """The terms of use in force still have to be accepted. The message is for the person; `terms` are the ones."""

    def __init__(self, terms: Terms) -> None:
        super().__init__(
            _("Read and accept the terms of use, version %(version)s, before you submit.")
            % {"version": terms.version}
        )
        self.terms = terms


def check_accepted(user: User) -> None:
    """Raise TermsNotAccepted unless the version in force is accepted. Nothing published is nothing to accept."""
    terms = Terms.objects.unaccepted_by(user)
    if terms is not None:
        raise TermsNotAccepted(terms)


@transaction.atomic
def publish(*, by: User, kind: str, text_en: str, text_zh_hans: str) -> Terms:
    """A new version, in force from now on."""
    check_permission(by, Permission.PUBLISH_TERMS)
    latest = Terms.objects.in_force(kind)
    version = latest.version + 1 if latest else 1
    try:
        with transaction.atomic():
            terms = Terms.objects.create(
                kind=kind, version=version, text_en=text_en, text_zh_hans=text_zh_hans, published_by=by
            )
    except IntegrityError:
        raise Overtaken(
            _("A colleague published version %(version)s just now.") % {"version": version}
        ) from None
    record("terms published", terms, by=by, kind=kind, version=version)
    return terms


@transaction.atomic
def accept(*, by: User, terms: Terms) -> None:
    """The version that the person has read, if it is still the one in force. Twice is once."""
    if terms != Terms.objects.in_force(Terms.Kind.USE):
        raise Overtaken(_("There is a newer version by now. Read it, then accept that one."))
    _acceptance, new = TermsAcceptance.objects.get_or_create(user=by, terms=terms)
    if new:
        record("terms accepted", terms, by=by, version=terms.version)
