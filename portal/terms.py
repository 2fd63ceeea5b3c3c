"""The field's terms, each explained in one line: shown on hover where a page uses the word, and listed in Help."""

from dataclasses import dataclass

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _


@dataclass(frozen=True)
class Term:
    word: str | Promise
    hint: str | Promise


TERMS = {
    "gpu-hour": Term(_("GPU-hour"), _("One GPU held for one hour, whether it was busy or not.")),
    "allocation": Term(
        _("allocation"), _("GPU-hours granted to a project on a cluster, from one day to another.")
    ),
    "partition": Term(
        _("partition"), _("A group of the cluster's nodes with its own limits and its own charge factor.")
    ),
    "factor": Term(
        _("charge factor"),
        _("What an hour in this partition costs: 1 is one GPU-hour for each GPU and hour."),
    ),
    "qos": Term(
        _("QOS"),
        _("Quality of service: the scheduler's name for a budget or a priority that jobs run under."),
    ),
    "hold": Term(
        _("held"),
        _("Set aside for jobs that have not ended, as if each ran to its time limit. The rest comes back."),
    ),
    "time-limit": Term(
        _("time limit"),
        _("The scheduler stops the job after this time. A shorter limit often starts sooner."),
    ),
    "sweep": Term(
        _("sweep"), _("One script that is run many times, each time with another number: a job array.")
    ),
    "requeue": Term(
        _("requeued"),
        _("The scheduler put the job back into the queue and starts it again under the same number."),
    ),
    "preemptible": Term(
        _("preemptible"), _("Cheaper, but the scheduler may stop the job when urgent work needs its GPUs.")
    ),
    "slurm": Term(
        _("Slurm"), _("The scheduler: the program that decides when each job runs and on which nodes.")
    ),
}
