"""What an address says about where somebody belongs: its domain, if it is an institution's own."""

from __future__ import annotations

import re

from allauth.account.models import EmailAddress
from django.core.exceptions import ValidationError
from django.utils.translation import gettext as _

from portal.models import User

DOMAIN = re.compile(
    r"(?=.{4,253}\Z)([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z][a-z0-9-]{0,61}[a-z0-9]\Z", re.ASCII
)
# Where anybody gets an address: it proves no institution.
FREE_MAIL = frozenset(
    [
        "gmail.com",
        "googlemail.com",
        "outlook.com",
        "hotmail.com",
        "live.com",
        "live.cn",
        "msn.com",
        "yahoo.com",
        "yahoo.co.jp",
        "yahoo.co.uk",
        "yahoo.de",
        "yahoo.fr",
        "yahoo.cn",
        "icloud.com",
        "me.com",
        "mac.com",
        "aol.com",
        "gmx.com",
        "gmx.de",
        "gmx.net",
        "gmx.at",
        "gmx.ch",
        "web.de",
        "t-online.de",
        "freenet.de",
        "mail.ru",
        "yandex.ru",
        "yandex.com",
        "bk.ru",
        "inbox.ru",
        "list.ru",
        "rambler.ru",
        "proton.me",
        "protonmail.com",
        "pm.me",
        "tutanota.com",
        "tuta.com",
        "tuta.io",
        "zoho.com",
        "mail.com",
        "email.com",
        "fastmail.com",
        "hey.com",
        "hushmail.com",
        "posteo.de",
        "mailbox.org",
        "disroot.org",
        "qq.com",
        "vip.qq.com",
        "foxmail.com",
        "163.com",
        "vip.163.com",
        "126.com",
        "188.com",
        "yeah.net",
        "sina.com",
        "sina.cn",
        "sohu.com",
        "139.com",
        "189.cn",
        "21cn.com",
        "aliyun.com",
        "tom.com",
        "wo.cn",
        "naver.com",
        "daum.net",
        "hanmail.net",
        "nate.com",
        "rediffmail.com",
        "laposte.net",
        "orange.fr",
        "wanadoo.fr",
        "free.fr",
        "sfr.fr",
        "libero.it",
        "virgilio.it",
        "alice.it",
        "uol.com.br",
        "bol.com.br",
        "terra.com.br",
        "seznam.cz",
        "centrum.cz",
        "wp.pl",
        "o2.pl",
        "onet.pl",
        "interia.pl",
        "abv.bg",
        "ukr.net",
        "mailinator.com",
        "guerrillamail.com",
        "yopmail.com",
        "10minutemail.com",
        "temp-mail.org",
    ]
)
# Below these, domains are given to everybody: "ac.uk" is no university.
SHARED = frozenset(("ac", "co", "com", "edu", "go", "gob", "gov", "gouv", "net", "org", "or", "sch", "res"))


def domain_of(address: str) -> str:
    """ "Mei@CS.Northlake.example" → "cs.northlake.example"."""
    return address.rpartition("@")[2].lower()


def check_domain(text: str) -> str:
    """An institution's mail domain as it is kept. Raises ValidationError with a sentence that says what to type."""
    domain = text.strip().lower().removeprefix("@").removesuffix(".")
    if not DOMAIN.match(domain):
        raise ValidationError(_("Type the part of your addresses behind the @, such as northlake.example."))
    if domain in FREE_MAIL:
        raise ValidationError(_("Anybody gets an address there. Use the institution's own mail domain."))
    if _is_shared(domain):
        raise ValidationError(_("Many institutions are below this one. Type your own domain in full."))
    return domain


def is_in(address: str, domain: str) -> bool:
    """Whether an address lies in `domain` or below it, as those of a department do."""
    own = domain_of(address)
    return own == domain or own.endswith(f".{domain}")


def verified_addresses(user: User) -> frozenset[str]:
    """The addresses that this person has proved to read, in small letters."""
    known = EmailAddress.objects.filter(user=user, verified=True)
    return frozenset(address.lower() for address in known.values_list("email", flat=True))


def verified_domains(user: User) -> frozenset[str]:
    """The domains in which this person is known to have an address, and those above: whose labs they may ask to join."""
    if not user.is_active:
        return frozenset()
    above = {domain for address in verified_addresses(user) for domain in _and_above(domain_of(address))}
    return frozenset(domain for domain in above if domain not in FREE_MAIL and not _is_shared(domain))


def short_name_of(domain: str) -> str:
    """ "cs.northlake.edu.cn" → "northlake": how people call the institution, more or less."""
    labels = domain.split(".")[:-1]
    named = [label for label in labels if label not in SHARED]
    return (named or labels or [domain])[-1]


def _and_above(domain: str) -> list[str]:
    labels = domain.split(".")
    return [".".join(labels[n:]) for n in range(len(labels) - 1)]


def _is_shared(domain: str) -> bool:
    labels = domain.split(".")
    return len(labels) == 2 and labels[0] in SHARED and len(labels[1]) == 2
