"""What is looked at before a cluster's accounting is believed, in words: what must be so, and what to do where it isn't."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from accounting.models import Capability
from jobs.probing import CLOCK
from jobs.schedulers import Check

WORDS: Mapping[str, tuple[Promise, Promise]] = {
    Check.DATABASE: (
        _("Slurm keeps its accounting in slurmdbd"),
        _("Set AccountingStorageType=accounting_storage/slurmdbd in slurm.conf, and run slurmdbd."),
    ),
    Check.GPUS: (
        _("GPUs are tracked"),
        _(
            "Add gres/gpu to AccountingStorageTRES in slurm.conf, and restart slurmctld. Earlier jobs stay without GPUs."
        ),
    ),
    Check.RIGHTS: (
        _("The portal's collector sees everybody's records"),
        _("As Slurm's administrator: sacctmgr modify user COLLECTOR set adminlevel=Operator."),
    ),
    Check.FIELDS: (
        _("sacct knows the fields that are needed"),
        _("Slurm 20.02 or newer is needed on the login node: install its client there."),
    ),
    Check.ZONE: (
        _("Times come in UTC"),
        _(
            "The gateway asks with TZ=UTC: see that no wrapper of scontrol or sacct sets another zone or format."
        ),
    ),
    Check.DELIMITER: (
        _("sacct parts its fields as it is told"),
        _("See that sacct is Slurm's own, and no wrapper changes what it prints."),
    ),
    CLOCK: (
        _("The cluster's clock is right"),
        _("It differs from the portal's by more than five minutes: set both by NTP."),
    ),
}


@dataclass(frozen=True)
class Looked:
    """One finding, in words."""

    what: str
    ok: bool
    seen: str  # in the scheduler's words
    todo: str  # empty where all is well


def looked_at(known: Capability) -> list[Looked]:
    return [
        Looked(
            what=str(WORDS[one["check"]][0]),
            ok=bool(one["ok"]),
            seen=str(one["seen"]),
            todo="" if one["ok"] else str(WORDS[one["check"]][1]),
        )
        for one in known.findings
        if one["check"] in WORDS
    ]
