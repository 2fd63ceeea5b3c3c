"""Worker side of mail: make it in its reader's language, and hand it to the server once.

A mail that the server did not take is tried again, later each time; after TRIES it is left, and staff see it.
"""

from __future__ import annotations

import logging
from datetime import timedelta
from hashlib import sha256
from smtplib import SMTPException
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.core.mail import EmailMessage
from django.template.loader import render_to_string
from django.utils import timezone, translation

from portal.account_links import address_key, password_key
from portal.links import token_of
from portal.models import OutgoingMail

log = logging.getLogger(__name__)

TRIES = 8
CLAIMED = timedelta(minutes=5)  # a worker that was killed while sending leaves the mail to another after this
MOST = 200  # mails of one ring


def send_waiting() -> int:
    """Send what waits; how many were sent."""
    now = timezone.now()
    waiting = OutgoingMail.objects.waiting().filter(not_before__lte=now, failures__lt=TRIES)
    return sum(_send(mail) for mail in waiting[:MOST])


def _send(mail: OutgoingMail) -> bool:
    claimed = OutgoingMail.objects.waiting().filter(pk=mail.pk, not_before=mail.not_before)
    if not claimed.update(not_before=timezone.now() + CLAIMED):
        return False  # another worker has it
    try:
        message(mail).send()
    except (OSError, SMTPException) as error:
        log.warning("mail %s to its recipient failed: %s", mail.pk, error)
        OutgoingMail.objects.filter(pk=mail.pk).update(
            failures=mail.failures + 1,
            not_before=timezone.now() + timedelta(minutes=2**mail.failures),
            problem=str(error)[:300],
        )
        return False
    OutgoingMail.objects.filter(pk=mail.pk).update(sent_at=timezone.now(), problem="")
    return True


def message(mail: OutgoingMail) -> EmailMessage:
    """The mail in its reader's language. The same row is always the same Message-ID: a second copy is known as one."""
    given: dict[str, Any] = dict(mail.context)
    path, seal = given.pop("path", ""), given.pop("seal", None)
    if seal:
        path = path.replace("TOKEN", _opened(*seal))
    site = settings.SITE_URL.rstrip("/")
    with translation.override(mail.language):
        text = render_to_string(
            f"emails/{mail.template}.txt",
            given
            | {
                "person": mail.recipient.name if mail.recipient else given.get("person", ""),
                "centre_name": settings.CENTRE_NAME,
                "url": f"{site}{path}" if path else "",
            },
        )
    subject, _line, body = text.partition("\n")
    named = f"<{sha256(mail.key.encode()).hexdigest()[:32]}@{urlsplit(site).hostname}>"
    return EmailMessage(" ".join(subject.split()), body.lstrip(), to=[mail.to], headers={"Message-ID": named})


def _opened(kind: str, nonce: str) -> str:
    """What stands in the place of TOKEN: the right itself, which is in the mail and nowhere else."""
    match kind:
        case "address":
            return address_key(nonce)
        case "password":
            return password_key(nonce)
        case _:
            return token_of(kind, nonce)
