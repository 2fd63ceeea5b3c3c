"""What the portal's own three users may do in Slurm, made with sacctmgr.

The collector has the level Operator: it sees queue and accounting of all, which PrivateData hides from members.
The admin has no level at all: it is coordinator of the account that all of the portal's accounts hang under.
The fencer is Administrator: nobody else may make a QOS. The gateway, which is all that it can run, knows five verbs of it.
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
    levels = {settings.collector: "Operator", settings.admin: "None", settings.fencer: "Administrator"}
    coordinates = ROOT_ACCOUNT in rights.get(settings.admin, ("", []))[1]
    if coordinates and all(rights.get(user, ("", []))[0] == level for user, level in levels.items()):
        return
    sacctmgr(instance, "add", "account", ROOT_ACCOUNT, "description=portal", f"organization={ORGANIZATION}")
    for user, level in levels.items():
        # Slurm knows only users that have an association; these are not to run anything with theirs.
        sacctmgr(instance, "add", "user", user, f"account={ROOT_ACCOUNT}", "maxsubmitjobs=0")
        if level != rights.get(user, ("None", []))[0]:
            sacctmgr(instance, "modify", "user", user, "set", f"adminlevel={level}")
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
