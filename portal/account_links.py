"""The two links of an account's mails. They are made when the mail goes out, from what is not secret: a row's number.

allauth and Django sign them with the site's key, so nothing that is stored opens anything.
"""

from __future__ import annotations

from allauth.account.forms import default_token_generator
from allauth.account.models import EmailAddress, EmailConfirmationHMAC
from allauth.account.utils import user_pk_to_url_str

from portal.models import User


def address_key(address_pk: str) -> str:
    """Confirms an e-mail address: for three days."""
    key: str = EmailConfirmationHMAC(EmailAddress(pk=int(address_pk))).key
    return key


def password_key(user_pk: str) -> str:
    """Lets its holder set the person's password: until it is used, for three days."""
    user = User.objects.get(pk=user_pk)
    return f"{user_pk_to_url_str(user)}-{default_token_generator.make_token(user)}"
