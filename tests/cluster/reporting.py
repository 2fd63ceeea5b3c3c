"""sreport of the one-machine Slurm, without waiting for the clock's hour.

sreport adds up finished hours of slurmdbd's own zone, and a POSIX zone may be off by any minutes: in the zone of a
`Window`, an hour ends just when the window does. A cluster started with it is asked for just those hours.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from math import ceil

from tests.cluster.one_machine import CHECKOUT, SlurmCluster, control, until

HOUR = timedelta(hours=1)
# East of us, so that a UTC day is none of slurmdbd's: of whole days of its own it keeps sums by the day, else by the hour.
EAST = 5


@dataclass(frozen=True)
class Window:
    """Whole hours of slurmdbd's zone in which the workload runs."""

    begin: datetime
    end: datetime

    @classmethod
    def of(cls, needed: timedelta) -> Window:
        """From now on, with so much time for the workload; it ends with a minute."""
        end = (datetime.now(UTC) + needed + timedelta(minutes=1)).replace(second=0, microsecond=0)
        return cls(end - HOUR * ceil((needed + timedelta(minutes=1)) / HOUR), end)

    @property
    def shift(self) -> timedelta:
        return timedelta(hours=EAST, minutes=(60 - self.end.minute) % 60)

    @property
    def zone(self) -> str:
        """A POSIX zone in which `end` is a full hour."""
        hours, minutes = divmod(self.shift.seconds // 60, 60)
        return f"LAB-{hours:02}:{minutes:02}"

    def local(self, moment: datetime) -> str:
        return (moment + self.shift).strftime("%Y-%m-%dT%H:%M:%S")

    @property
    def is_over(self) -> bool:
        return datetime.now(UTC) > self.end + timedelta(seconds=1)


@contextmanager
def cluster_of_its_own(name: str, prefix: str, folder: str, zone: str) -> Iterator[SlurmCluster]:
    """A cluster on which nothing ran before, whose slurmdbd lives in that zone."""
    state = CHECKOUT / ".state" / folder
    control("destroy", "--state", str(state))
    up = control("up", "--state", str(state), "--name", name, "--prefix", prefix, "--slurmdbd-tz", zone)
    assert up.returncode == 0, up.stdout + up.stderr
    try:
        yield SlurmCluster(state, name, prefix)
    finally:
        control("destroy", "--state", str(state))


def roll_up(slurm: SlurmCluster, window: Window) -> None:
    """Once the window is over, have slurmdbd add up its hours."""
    until(lambda: window.is_over, (window.end - datetime.now(UTC)).total_seconds() + 60)
    roll_up_since(slurm, window.zone, window.begin + window.shift)


def roll_up_since(slurm: SlurmCluster, zone: str, day: datetime) -> None:
    """Have slurmdbd add up all hours since that day began in its own zone."""
    slurm.said("env", f"TZ={zone}", "sacctmgr", "-i", "rollup", f"{day:%m/%d/%y}-00:00:00")


def sreport(slurm: SlurmCluster, window: Window) -> dict[str, int]:
    """GPU-seconds of each account, with those below it, in that window, as Slurm itself adds them up."""
    said = slurm.said(
        *(
            "env",
            f"TZ={window.zone}",
            "sreport",
            "--noheader",
            "--parsable2",
            "-t",
            "seconds",
            "-T",
            "gres/gpu",
        ),
        *("cluster", "AccountUtilizationByUser"),
        *(f"start={window.local(window.begin)}", f"end={window.local(window.end)}"),
        "format=Account,Login,Used",
    )
    rows = [line.split("|") for line in said.splitlines()]
    return {account: int(used) for account, login, used in rows if not login}
