"""A member is removed while a job of theirs is on its way: it is not sent."""

from __future__ import annotations

import os

import pytest

from accounting import ledger
from jobs.states import State
from portal.actions import memberships
from tests.cluster.one_machine import until
from tests.cluster.world import World
from tests.faults.endings import in_slurm
from tests.faults.programs import aside
from tests.faults.proxy import Proxy

pytestmark = [pytest.mark.cluster, pytest.mark.django_db(transaction=True)]


def test_removed_while_the_files_are_on_their_way(world: World, road: Proxy) -> None:
    job = world.submit("#!/bin/bash\ntrue\n", gpus=1, minutes=5, **{"data.bin": os.urandom(6 << 20)})
    road.delay = 0.02
    with aside(world.send):
        until(lambda: road.up > 1 << 20)
        memberships.end(by=world.mei, membership=world.mei.memberships.current().get())
        road.delay = 0

    job.refresh_from_db()
    assert (job.state, job.reason) == (State.FAILED, "NoLongerMember")
    assert in_slurm(world) == {}
    assert ledger.balance(world.allocation).held == 0
