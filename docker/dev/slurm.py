"""`./dev slurm COMMAND …`: a Slurm command inside the demo's cluster."""

import subprocess

from dev import cluster, rights
from dev.say import Stop


def slurm(words: list[str]) -> int:
    if not words:
        raise Stop("Which Slurm command? For example: ./dev slurm squeue")
    rights.become_root("Speaking to the demo's cluster")
    return subprocess.run(cluster.command("exec", "--", *words)).returncode
