"""Who is known to the portal: people whom the centre registers itself, and how they get in for the first time."""

from __future__ import annotations

from allauth.account.models import EmailAddress
from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import transaction
from django.urls import reverse

from portal.account_links import password_key
from portal.models import Membership, Role, User
from portal.models.audit import record


def newcomer(email: str, name: str) -> User:
    """A person without a password, not saved yet: `first_link` lets them choose one. Raises ValidationError."""
    user = User(email=email.lower(), name=name)
    user.set_unusable_password()
    user.full_clean()
    if EmailAddress.objects.filter(email=user.email, verified=True).exists():
        raise ValidationError(f"{user.email} is a further address of somebody who is known already.")
    return user


@transaction.atomic
def make_staff(email: str, name: str) -> User:
    """The person with that address, with the role centre staff. Raises ValidationError. Twice is once."""
    user = User.objects.filter(email=email.lower()).first()
    if user is None:
        user = newcomer(email, name)
        user.save()
    if not user.is_active:
        raise ValidationError(f"{user.email} has been switched off: nobody logs in with it.")
    membership, new = Membership.objects.get_or_create(user=user, role=Role.STAFF, ended_at=None)
    if new:
        record("staff made on the command line", membership, by=None)
    return user


def first_link(user: User) -> str:
    """A page on which a password is set: until it is used, for three days. Whoever has the link gets in as `user`."""
    page = reverse("account_reset_password_from_key", kwargs={"uidb36": "UID", "key": "KEY"})
    return f"{settings.SITE_URL.rstrip('/')}{page.replace('UID-KEY', password_key(str(user.pk)))}"


def confirm_only_address(user: User) -> None:
    """Whoever came by a link that was mailed to them, or handed over by the centre, need not prove that address again."""
    known = EmailAddress.objects.filter(user=user)
    if known.exclude(email=user.email).exists() or known.filter(verified=True).exists():
        return
    address, _new = EmailAddress.objects.get_or_create(user=user, email=user.email)
    if address.set_verified():
        address.set_as_primary()


def belongs_to_another(address: EmailAddress) -> bool:
    """Whether somebody else's account goes by that address: whose it is then can't be changed by a further address."""
    return User.objects.filter(email=address.email).exclude(pk=address.user_id).exists()
