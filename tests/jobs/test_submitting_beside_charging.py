"""A submission locks the person, then the allocation; a charge locks the allocation, then writes rows about the person."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from django.db import connections, transaction

from accounting import ledger
from accounting.models import Allocation, Partition
from jobs import actions
from jobs.models import Job, Upload
from portal.emails import post
from portal.models import Project, User
from tests.cluster.one_machine import until
from tests.jobs.at_hand import uploaded
from tests.locks import somebody_waits

pytestmark = pytest.mark.django_db(transaction=True)


def submit(mei: User, project: Project, partition: Partition, script: Upload) -> Job:
    try:
        return actions.create_and_submit(
            by=mei,
            project=project,
            partition=partition,
            name="x",
            gpus=1,
            time_limit_minutes=60,
            script=script,
            inputs=[],
        )
    finally:
        connections.close_all()


def test_they_never_wait_for_each_other(
    mei: User, project: Project, a100: Partition, allocation: Allocation
) -> None:
    script = uploaded(mei)
    with ThreadPoolExecutor(1) as thread:
        with transaction.atomic():
            ledger.lock(allocation)
            submission = thread.submit(submit, mei, project, a100, script)
            until(somebody_waits)
            post("budget", to=mei, key="a charge's mail")
        assert submission.result().owner == mei
