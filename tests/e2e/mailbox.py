"""What the portal's worker has mailed, read as its recipients read it: from the mails themselves."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from email import message_from_bytes, policy
from pathlib import Path

from tests.cluster.one_machine import until

BETWEEN_MAILS = re.compile(rb"\n-{79}\n")
LINK = re.compile(r"https?://\S+")


@dataclass(frozen=True)
class Mail:
    to: str
    subject: str
    body: str

    @property
    def link(self) -> str:
        found = LINK.search(self.body)
        assert found, f"no link in “{self.subject}”:\n{self.body}"
        return found[0]


@dataclass(frozen=True)
class Mailbox:
    """Everybody's: the folder into which the worker writes each mail instead of handing it to a server."""

    folder: Path

    def awaits(self, to: str, about: str) -> Mail:
        """The newest mail to an address whose subject holds these words; it comes soon."""
        mail = until(lambda: next((mail for mail in self._newest_first(to) if about in mail.subject), None))
        assert mail
        return mail

    def _newest_first(self, to: str) -> Iterator[Mail]:
        for file in sorted(self.folder.glob("*.log"), reverse=True):  # named by the moment
            for raw in reversed(BETWEEN_MAILS.split(file.read_bytes())):
                mail = message_from_bytes(raw, policy=policy.default)
                if to == mail["To"]:
                    yield Mail(to, str(mail["Subject"]).replace("\u202f", " "), mail.get_content())
