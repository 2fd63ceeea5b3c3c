"""The tree that a real Slurm dumps is the tree that the portal then has."""

from __future__ import annotations

import secrets
from io import StringIO
from pathlib import Path

import pytest
from django.core.management import call_command

from portal.models import Project
from tests.cluster.one_machine import SlurmCluster
from tests.factories import ClusterFactory

pytestmark = [pytest.mark.cluster, pytest.mark.django_db]


def test_it_is_the_same_tree(slurm_cluster: SlurmCluster, tmp_path: Path) -> None:
    mark = f"t{secrets.token_hex(3)}"
    above = {f"{mark}i": "root", f"{mark}l": f"{mark}i", f"{mark}p": f"{mark}l", f"{mark}flat": "root"}
    for account, parent in above.items():
        words = (
            "sacctmgr",
            "-i",
            "add",
            "account",
            account,
            f"parent={parent}",
            f"description={account} group",
        )
        slurm_cluster.said(*words, "organization=elsewhere")
    dump = slurm_cluster.root / "log" / "tree.cfg"
    slurm_cluster.said("sacctmgr", "-i", "dump", "firefly", f"file={dump}")
    file = tmp_path / "tree.cfg"
    file.write_text(slurm_cluster.said("cat", str(dump)))
    ClusterFactory.create(name="firefly")

    out = StringIO()
    call_command("import_sacctmgr", str(file), "--cluster", "firefly", stdout=out)

    assert " 0 lines not." in out.getvalue()
    projects = Project.objects.filter(account__startswith=mark).select_related("lab__institution")
    found = {(one.lab.institution.account, one.lab.account, one.account) for one in projects}
    assert found == {(f"{mark}i", f"{mark}l", f"{mark}p"), (f"{mark}flat",) * 3}
    assert Project.objects.get(account=f"{mark}p").title == f"{mark}p group"
    for account in reversed(above):
        slurm_cluster.said("sacctmgr", "-i", "remove", "account", account)
