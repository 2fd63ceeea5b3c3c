"""A person's POSIX user: a plain name, never another's."""

import pytest

from accounting.models import Cluster
from jobs.identity import association_for
from jobs.models import ClusterAccount, posix_name
from portal.models import Project, User
from tests.factories import UserFactory

pytestmark = pytest.mark.django_db


def named(email: str) -> User:
    return UserFactory.create(email=email)


@pytest.mark.parametrize(
    ("email", "username"),
    [
        ("mei.lin@northlake.example", "fp-mei-lin"),
        ("JOSÉ+lab@example.org", "fp-jose-lab"),
        ("_..@example.org", "fp-member"),
        ("a-very-long-name-that-goes-on-and-on@example.org", "fp-a-very-long-name-tha"),
        ("root@example.org", "fp-root"),
    ],
)
def test_its_name_comes_from_the_mail_address(
    email: str, username: str, firefly: Cluster, project: Project
) -> None:
    account = association_for(named(email), firefly, project).account
    assert account.username == username
    posix_name(account.username)


def test_two_people_never_get_the_same_name(firefly: Cluster, project: Project) -> None:
    first = association_for(named("mei@north.example"), firefly, project).account
    second = association_for(named("mei@south.example"), firefly, project).account
    assert (first.username, second.username) == ("fp-mei", "fp-mei2")


def test_the_name_of_somebody_who_left_is_not_given_again(firefly: Cluster, project: Project) -> None:
    gone = association_for(named("mei@north.example"), firefly, project).account
    ClusterAccount.objects.filter(pk=gone.pk).update(state=ClusterAccount.State.DISABLED)
    assert association_for(named("mei@south.example"), firefly, project).account.username == "fp-mei2"


def test_asking_again_gives_the_same_account(firefly: Cluster, project: Project) -> None:
    person = named("mei@north.example")
    assert association_for(person, firefly, project) == association_for(person, firefly, project)
