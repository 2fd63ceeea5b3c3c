"""Mail: written in the transaction of the deed, sent by a worker after it. The same reason mails nobody twice.

    post("request_returned", to=pi, key=f"request {asked.pk} returned {review.pk}", path=page, project=title)

The template templates/emails/request_returned.txt extends emails/base.txt: its first line is the subject. What it shows
besides the project is what `post` was given: words and numbers as the reader's language needs them are made in the template.
`portal.mailing` sends it.
"""

from __future__ import annotations

from collections.abc import Iterable

from django.conf import settings
from django.utils import translation

from portal import tasks
from portal.doorbell import ring
from portal.models import Membership, OutgoingMail, User


def post(
    template: str,
    *,
    to: User | str,
    key: str,
    path: str = "",
    seal: tuple[str, str] | None = None,
    **context: str | int | None,
) -> None:
    """Have one mail sent, once for `key` and address. `path`: the page that its link opens.

    `seal`, a kind and a nonce of `portal.links`, is put as a token in the place of TOKEN in `path` when the mail is made,
    never before.
    """
    person = to if isinstance(to, User) else None
    address = person.email if person else str(to)
    _mail, new = OutgoingMail.objects.get_or_create(
        key=f"{key} → {address}"[:200],
        defaults={
            "to": address,
            "recipient": person,
            "language": (person.language if person else "")
            or translation.get_language()
            or settings.LANGUAGE_CODE,
            "template": template,
            "context": context | {"path": path, "seal": seal},
        },
    )
    if new:
        ring(tasks.send_mails)


def people_with(*roles: str) -> Iterable[User]:
    """Everybody who holds one of `roles` somewhere today: whom a mail to the centre goes to."""
    holders = Membership.objects.current().filter(role__in=roles)
    return User.objects.filter(pk__in=holders.values("user"), is_active=True)
