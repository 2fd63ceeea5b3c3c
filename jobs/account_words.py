"""How far somebody's account on a cluster is, in words: what is awaited, and since when."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from django.utils import timezone
from django.utils.translation import gettext as _

from jobs.models import ClusterAccount
from portal.models import User

SLOW = timedelta(hours=1)  # a POSIX user takes minutes: after this, somebody should look
State = ClusterAccount.State


@dataclass(frozen=True)
class AccountWords:
    account: ClusterAccount
    word: str
    tone: str
    sentence: str
    since: datetime
    said: str = ""  # by the cluster, in its own words


def awaited_by(user: User) -> list[AccountWords]:
    """What the person waits for: accounts that are being made."""
    accounts = user.cluster_accounts.awaited().select_related("cluster")
    return [in_words(account) for account in accounts]


def in_words(account: ClusterAccount) -> AccountWords:
    """`account` with its cluster. The sentence speaks to whoever may see the person."""
    word, tone, sentence, since = _step(account)
    said = account.message if account.state != State.DISABLED else ""
    if said:
        tone = "warn"
    return AccountWords(account, word, tone, sentence % {"cluster": account.cluster}, since, said)


def _step(account: ClusterAccount) -> tuple[str, str, str, datetime]:
    if account.state == State.ACTIVE:
        words = _("The account on %(cluster)s is ready: jobs run as it.")
        return _("active"), "ok", words, account.found_at or account.created_at
    if account.state == State.DISABLED:
        words = _(
            "The account on %(cluster)s is switched off: there is no project any more for which it may run. "
            "Files stay, and a job in another project brings it back under the same name."
        )
        return _("switched off"), "off", words, account.shut_out_at or account.requested_at
    if not account.is_approved:
        words = _("The account on %(cluster)s waits for the centre's approval. Jobs are kept until then.")
        return _("waits for approval"), "wait", words, account.requested_at
    if account.found_at is not None:
        words = _("The account on %(cluster)s is there. Its project is being entered with the scheduler.")
        return _("almost ready"), "wait", words, account.found_at
    since = account.approved_at or account.requested_at
    if timezone.now() - since > SLOW:
        words = _(
            "The account on %(cluster)s is being made, which takes longer than usual. The centre's staff see it. "
            "Jobs are kept, and sent when it is there."
        )
        return _("being made"), "warn", words, since
    words = _(
        "The account on %(cluster)s is being made, usually minutes. Jobs are kept, and sent when it is there."
    )
    return _("being made"), "wait", words, since
