"""What the portal's own two users may do in Slurm, made with sacctmgr.

The collector has the level Operator: it sees queue and accounting of all, which PrivateData hides from members.
The admin has no level at all: it is coordinator of the account that all of the portal's accounts hang under.
"""

import subprocess

from instance import ClusterError, Instance

CLUSTER = "firefly"
ROOT_ACCOUNT = "portal"
ORGANIZATION = "firefly-portal"  # by which the gateway knows an account as the portal's


def ensure_cluster(instance: Instance) -> None:
    if CLUSTER not in sacctmgr(instance, "show", "cluster", "format=cluster").split():
        sacctmgr(instance, "add", "cluster", CLUSTER)


def ensure_rights(instance: Instance) -> None:
    settings = instance.settings
    shown = sacctmgr(instance, "show", "user", "withcoord", "format=user,adminlevel,coordinators")
    rights = {user: (level, coords.split(",")) for user, level, coords in map(fields, shown.splitlines())}
    collector, admin = rights.get(settings.collector), rights.get(settings.admin)
    if collector and collector[0] == "Operator" and admin and ROOT_ACCOUNT in admin[1]:
        return
    sacctmgr(instance, "add", "account", ROOT_ACCOUNT, "description=portal", f"organization={ORGANIZATION}")
    # Slurm knows only users that have an association; these two are not to run anything with theirs.
    for user in (settings.collector, settings.admin):
        sacctmgr(instance, "add", "user", user, f"account={ROOT_ACCOUNT}", "maxsubmitjobs=0")
    sacctmgr(instance, "modify", "user", settings.collector, "set", "adminlevel=Operator")
    sacctmgr(instance, "add", "coordinator", f"account={ROOT_ACCOUNT}", f"names={settings.admin}")


def fields(line: str) -> list[str]:
    return line.split("|")


def sacctmgr(instance: Instance, *words: str) -> str:
    """Run one sacctmgr command as root; that there was nothing to do is no error."""
    done = subprocess.run(
        ["sacctmgr", "--immediate", "--noheader", "--parsable2", *words],
        capture_output=True,
        text=True,
        timeout=60,
        env=instance.environment(),
    )
    said = done.stdout + done.stderr
    if done.returncode != 0 and "Nothing new added" not in said and "already exists" not in said:
        raise ClusterError(f"sacctmgr {' '.join(words)} failed: {said.strip()}")
    return done.stdout
