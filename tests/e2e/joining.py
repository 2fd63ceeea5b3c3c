"""The way in, as newcomers go it: an institution applies, is registered, opens a lab, and its people come by mailed links."""

from __future__ import annotations

from collections.abc import Iterable
from urllib.parse import urlsplit

from playwright.sync_api import expect

from tests.e2e.eye import Eye
from tests.e2e.mailbox import Mailbox
from tests.e2e.people import Person

INSTITUTION, DOMAIN = "Southmoor Technical University", "southmoor.example"
LAB = "Tomography Lab"


def here(person: Person) -> str:
    """The path of the open page."""
    return urlsplit(person.page.url).path


def email_of(newcomer: Person) -> str:
    return f"{newcomer.name.lower().replace(' ', '.')}@{DOMAIN}"


def applies(ida: Person, mailbox: Mailbox, eye: Eye) -> None:
    ida.opens("/accounts/login/")
    ida.follows("Register your institution")
    page = ida.page
    page.get_by_label("Name of the institution").fill(INSTITUTION)
    page.get_by_label("Country or region").select_option("CN")
    page.get_by_label("Mail domain").fill(DOMAIN)
    page.get_by_label("Your name").fill(ida.name)
    page.get_by_label("Your e-mail address there").fill(email_of(ida))
    page.get_by_label("What for").fill("One lab finds tumours in CT scans: about 20,000 GPU-hours a year.")
    page.get_by_label("We accept the agreement").check()
    eye.looks("story-apply")
    ida.presses("Send the application")
    ida.reads("Look into your mail")
    page.goto(mailbox.awaits(email_of(ida), "Confirm your address").link)
    eye.looks("story-confirm")
    ida.presses("Confirm and send to the centre")
    ida.reads("The centre has your application")


def registers(sam: Person, mailbox: Mailbox) -> str:
    """The institution's page."""
    sam.page.goto(mailbox.awaits(sam.site.emails[sam.name], INSTITUTION).link)
    sam.reads(contact := f"ida.norberg@{DOMAIN}")
    account = sam.page.get_by_label("Account in Slurm")
    account.fill(f"{account.input_value()}-{sam.site.mark}")  # the scheduler remembers earlier test runs
    sam.presses("Register and invite the contact")
    sam.reads(f"{INSTITUTION} is registered, and {contact} is invited.")
    return here(sam)


def arrives(newcomer: Person, mailbox: Mailbox, eye: Eye) -> None:
    """By the link in the mail, without an account yet: the link has proven the address."""
    page = newcomer.page
    page.goto(mailbox.awaits(email_of(newcomer), "You are invited").link)
    newcomer.follows("Make an account")
    address = page.get_by_label("E-mail address")
    expect(address).to_have_value(email_of(newcomer))
    expect(address).to_be_disabled()
    page.get_by_label("Your name").fill(newcomer.name)
    page.get_by_label("Password").fill(newcomer.site.password)
    eye.looks("story-sign-up")
    newcomer.presses("Make the account")
    eye.looks("story-invited")
    newcomer.presses("Accept the invitation")
    newcomer.reads("Welcome. You are")
    eye.looks(f"story-arrived-{newcomer.name.split()[0].lower()}")


def opens_a_lab(ida: Person, institution: str, lena: Person) -> str:
    """The lab's page."""
    assert here(ida) == institution, "who is new here begins where there is something to do"
    ida.follows("New lab")
    ida.page.get_by_label("Name", exact=True).fill(LAB)
    ida.page.get_by_label("E-mail address of its PI").fill(email_of(lena))
    ida.presses("Make the lab and invite its PI")
    ida.reads(f"{LAB} is there. {email_of(lena)} is invited to lead it.")
    return here(ida)


def invites(lena: Person, lab: str, members: Iterable[Person], eye: Eye) -> None:
    """Two in one go; what would happen is shown first."""
    lena.opens(lab)
    lena.follows("Invite many")
    lena.page.get_by_label("Addresses").fill("\n".join(map(email_of, members)))
    lena.presses("Show what would happen")
    lena.reads("Nothing was sent yet")
    eye.looks("story-dry-run")
    lena.presses("Send 2 invitations")
    for member in members:
        expect(lena.page.get_by_role("row", name=email_of(member))).to_be_visible()
