"""The whole way in: a university applies, is registered, makes a lab, its PI comes, invites a member, who joins."""

from __future__ import annotations

from django.test import Client

from portal.models import Institution, Lab, Membership, User
from tests.factories import UserFactory
from tests.pages import assert_like_nowhere, browser, words
from tests.portal.mailbox import link_to

NORA, LENA, KOFI = "nora@eastbrook.example", "lena@eastbrook.example", "kofi@eastbrook.example"


def arrives(address: str, name: str) -> Client:
    """Follows the link in the mail, logged out; then makes an account, and accepts."""
    link = link_to(address)
    stranger = Client()
    assert "You are invited" in words(stranger.get(link))
    assert stranger.session["invited_email"] == address
    person = browser(UserFactory.create(name=name, email=address))
    assert "Welcome" in words(person.post(link, follow=True))
    return person


def test_from_the_application_to_the_first_member(sam: User, vera: User) -> None:
    stranger = Client()
    stranger.post(
        "/institutions/apply/",
        {
            "name": "Eastbrook Medical University",
            "country": "CN",
            "mail_domain": "eastbrook.example",
            "contact_name": "Nora Lindqvist",
            "contact_email": NORA,
            "purpose": "Segmenting CT scans.",
        },
    )
    stranger.post(link_to(NORA))
    staff = browser(sam)
    [url] = {part for part in staff.get("/institutions/applications/").content.decode().split('"')
             if part.startswith("/institutions/applications/") and part[-2:-1].isdigit()}  # fmt: skip
    form = staff.get(url).context["form"].initial
    staff.post(f"{url}accept/", form)

    nora = arrives(NORA, "Nora Lindqvist")
    nora.post("/institutions/eastbrook/labs/new/", {"name": "CT Lab", "slug": "ct", "pi": LENA})
    lab = Lab.objects.get(slug="ct")

    lena = arrives(LENA, "Lena Vogt")
    lena.post(f"/labs/{lab.pk}/invite/many/", {"people": KOFI, "role": "member", "confirm": "1"})

    arrives(KOFI, "Kofi Mensah")
    held = Membership.objects.current().exclude(user__in=[sam, vera]).order_by("pk")
    assert [*held.values_list("user__email", "role")] == [
        (NORA, "institution_admin"),
        (LENA, "pi"),
        (KOFI, "member"),
    ]
    page = words(lena.get(f"/labs/{lab.pk}/"))
    assert "2 people work here." in page and "Kofi Mensah" in page
    assert lab.account == "eastbrook-ct"
    assert Institution.objects.get(slug="eastbrook").mail_domain == "eastbrook.example"
    for place in ("/institutions/eastbrook/", f"/labs/{lab.pk}/"):
        assert_like_nowhere(browser(vera), place)
