"""Institutions and their labs, as the centre and the institution keep them. One transaction each, with `by`."""

from __future__ import annotations

from typing import Any

from django.db import IntegrityError, transaction
from django.utils.text import slugify
from django.utils.translation import gettext as _

from portal.actions.invitations import invite
from portal.mail_domains import short_name_of
from portal.models import Institution, Lab, Role, User
from portal.models.audit import record
from portal.permissions import Permission, check_permission
from portal.transitions import Overtaken

# What stands in the place of an institution's name in an address.
RESERVED = frozenset(("apply", "applications", "register"))


@transaction.atomic
def register_institution(
    *, by: User, name: str, slug: str, account: str, country: str = "", mail_domain: str = "", admin: str = ""
) -> Institution:
    """A new institution; with `admin`, an address, its first admin is invited at once."""
    check_permission(by, Permission.MANAGE_INSTITUTIONS)
    told: dict[str, Any] = {
        "name": name,
        "slug": slug,
        "account": account,
        "country": country,
        "mail_domain": mail_domain,
    }
    try:
        with transaction.atomic():
            institution = Institution.objects.create(**told)
    except IntegrityError:
        raise Overtaken(_("There is an institution of this name, short name or account by now.")) from None
    record("institution registered", institution, by=by, **told)
    if admin:
        invite(by=by, email=admin, role=Role.INSTITUTION_ADMIN, place=institution)
    return institution


@transaction.atomic
def change_institution(
    *, by: User, institution: Institution, name: str, country: str, mail_domain: str
) -> None:
    """What may change: its short name is in addresses, its account in the scheduler."""
    check_permission(by, Permission.MANAGE_INSTITUTIONS)
    told: dict[str, Any] = {"name": name, "country": country, "mail_domain": mail_domain}
    try:
        with transaction.atomic():
            Institution.objects.filter(pk=institution.pk).update(**told)
    except IntegrityError:
        raise Overtaken(_("There is an institution of this name by now.")) from None
    record("institution changed", institution, by=by, **told)


@transaction.atomic
def create_lab(*, by: User, institution: Institution, name: str, slug: str, pi: str) -> Lab:
    """A new lab; `pi`, an address, is invited to lead it at once."""
    check_permission(by, Permission.MANAGE_LABS, institution=institution)
    try:
        with transaction.atomic():
            lab = Lab.objects.create(
                institution=institution, name=name, slug=slug, account=lab_account(institution, slug)
            )
    except IntegrityError:
        raise Overtaken(_("There is a lab of this short name by now.")) from None
    record("lab created", lab, by=by, name=name, account=lab.account, institution=institution.pk)
    invite(by=by, email=pi, role=Role.PI, place=lab)
    return lab


def lab_account(institution: Institution, slug: str) -> str:
    """Its name in the scheduler's account tree, where names are known once in all institutions."""
    return f"{institution.account}-{slug}"


def free_short_name(name: str, mail_domain: str) -> str:
    """A short name that no institution has, as slug and as account."""
    stem = slugify(short_name_of(mail_domain) if mail_domain else name)[:50] or "institution"
    stem = stem if stem[0].isalpha() else f"i-{stem}"
    taken = {
        *Institution.objects.filter(slug__startswith=stem).values_list("slug", flat=True),
        *Institution.objects.filter(account__startswith=stem).values_list("account", flat=True),
        *RESERVED,
    }
    free = (
        candidate
        for n in range(1, len(taken) + 2)
        if (candidate := f"{stem}-{n}" if n > 1 else stem) not in taken
    )
    return next(free)
