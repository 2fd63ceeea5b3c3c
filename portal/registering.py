"""Who is known to the portal: people whom the centre registers itself, and how they get in for the first time."""

from __future__ import annotations

from django.conf import settings
from django.contrib.auth.tokens import default_token_generator
from django.core.exceptions import ValidationError
from django.db import transaction
from django.urls import reverse
from django.utils.encoding import force_bytes
from django.utils.http import urlsafe_base64_encode

from portal.models import Membership, Role, User
from portal.models.audit import record


def newcomer(email: str, name: str) -> User:
    """A person without a password, not saved yet: `first_link` lets them choose one. Raises ValidationError."""
    user = User(email=email.lower(), name=name)
    user.set_unusable_password()
    user.full_clean()
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
    uid = urlsafe_base64_encode(force_bytes(user.pk))
    page = reverse("password_reset_confirm", args=[uid, default_token_generator.make_token(user)])
    return f"{settings.SITE_URL.rstrip('/')}{page}"
