"""What tests of mails say again and again."""

from __future__ import annotations

import re

from django.core import mail

from portal import mailing


def delivered() -> list[tuple[str, str]]:
    """Send what waits; (to, subject) of each new mail."""
    before = len(mail.outbox)
    mailing.send_waiting()
    return [(message.to[0], str(message.subject)) for message in mail.outbox[before:]]


def link_to(address: str) -> str:
    """The path of the link in the newest mail to `address`."""
    mailing.send_waiting()
    body = next(str(message.body) for message in reversed(mail.outbox) if message.to == [address])
    found = re.search(r"http://[^/\s]+(/\S+)", body)
    assert found, body
    return found[1]
