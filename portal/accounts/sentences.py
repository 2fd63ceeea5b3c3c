"""What people read where django-allauth has words of its own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

ERRORS: dict[str, Promise] = {
    "account_inactive": _("This account has been switched off. Ask the centre."),
    "duplicate_email": _("This address is yours already."),
    "email_password_mismatch": _(
        "E-mail address and password don't fit together. Check both; capital letters count in the password."
    ),
    "enter_current_password": _("This is not your present password. Capital letters count."),
    "incorrect_code": _("This code is not right. Codes change every 30 seconds: type the present one."),
    "incorrect_password": _("This is not your password. Capital letters count."),
    "max_email_addresses": _("You can have at most %d addresses. Remove one first."),
    "too_many_login_attempts": _("Too many wrong tries. Wait 15 minutes, then try again."),
    "rate_limited": _("Too many tries. Wait some minutes, then try again."),
}
CONNECTED_ERRORS: dict[str, Promise] = {
    "no_password": _("Set a password first, or you could not log in any more."),
    "no_verified_email": _("Confirm your e-mail address first, or you could not log in any more."),
    "disconnect_last": _("This is your only way to log in. Set a password first."),
    "connected_other": _("This log-in belongs to another account already."),
}
SECOND_FACTOR_ERRORS: dict[str, Promise] = {
    "cannot_delete_authenticator": _("Your role needs a second factor. Add another one first."),
    "wrong_key": _("This key is not known here, or its answer came too late. Try once more."),
    "cannot_generate_recovery_codes": _("Recovery codes come with an authenticator app or a security key."),
    "incorrect_code": _("This code is not right. Codes change every 30 seconds: type the present one."),
}
SAID: dict[str, Promise] = {
    "account/messages/cannot_delete_primary_email": _(
        "Your main address can't be removed. Make another one the main address first."
    ),
    "account/messages/email_confirmation_failed": _("%(email)s belongs to another account already."),
    "account/messages/email_confirmation_sent": _("A link is on its way to %(email)s. Open it to go on."),
    "account/messages/email_confirmed": _("%(email)s is confirmed."),
    "account/messages/email_deleted": _("%(email)s is removed."),
    "account/messages/logged_out": _("You are logged out. Your jobs go on without you."),
    "account/messages/password_changed": _("Your password is changed. Use the new one from now on."),
    "account/messages/password_set": _("Your password is set."),
    "account/messages/primary_email_set": _("Mails go to this address from now on."),
    "account/messages/unverified_primary_email": _("Confirm the address first: open the link in its mail."),
    "mfa/messages/recovery_codes_generated": _("Here are your recovery codes. Earlier ones no longer work."),
    "mfa/messages/totp_activated": _("Your authenticator app is connected."),
    "mfa/messages/totp_deactivated": _("The authenticator app is removed."),
    "mfa/messages/webauthn_added": _("Your security key is added."),
    "mfa/messages/webauthn_removed": _("The security key is removed."),
    "socialaccount/messages/account_connected": _("You can log in this way from now on."),
    "socialaccount/messages/account_connected_other": _("This log-in belongs to another account already."),
    "socialaccount/messages/account_disconnected": _("This log-in is removed."),
    "usersessions/messages/sessions_logged_out": _("All other browsers are logged out."),
}


def said(template: str, context: Mapping[str, Any]) -> str:
    """Our sentence for what allauth would say with that template; nothing for what needs no words."""
    sentence = SAID.get(template.removesuffix(".txt"))
    return str(sentence) % context if sentence else ""
