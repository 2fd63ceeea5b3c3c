"""Bring a site's own records: a file of sacct's output whose first line names the columns.

The same rules and the same rows as the live collection: importing twice, or over what was collected, changes nothing.
"""

from __future__ import annotations

import os
import time
from argparse import ArgumentParser
from collections import defaultdict
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from accounting import bulk, usage
from accounting.models import Cluster, UsageDay, UsageRecord
from accounting.runs import Run
from accounting.usage import Tally
from jobs import history
from jobs.attributing import attribution
from jobs.history import Batch, Unreadable
from portal.words import duration

SAY_EVERY = 1.0  # seconds between two lines of progress


class Command(BaseCommand):
    help = "Import records of the scheduler's accounting from a file whose first line names the columns."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("file", type=Path, help="output of sacct, with its header")
        parser.add_argument("--cluster", required=True, help="of records that have no column Cluster")
        parser.add_argument(
            "--delimiter", help="the file's own, as sacct --parsable --delimiter wrote it; else |"
        )
        parser.add_argument(
            "--timezone", default="UTC", help="in which the times are written, such as Europe/Berlin"
        )
        parser.add_argument(
            "--as-of", help="when the records were read, such as 2025-12-31T12:00:00 (UTC); else now"
        )
        parser.add_argument(
            "--active-jobs", default="", help="JobIDRaw of jobs that were in the queue then: 50,51"
        )

    def handle(self, *, file: Path, cluster: str, **options: Any) -> None:
        as_of = _moment(options["as_of"])
        active = frozenset(filter(None, (job.strip() for job in options["active_jobs"].split(","))))
        zone = _zone(options["timezone"])
        tally, rejected = Tally(), 0
        try:
            with _opened(file) as source:
                size = os.fstat(source.fileno()).st_size
                batches = history.batches(source, delimiter=options["delimiter"], zone=zone, cluster=cluster)
                for number, batch in enumerate(self._progress(batches, size)):
                    rejected += self._take(batch, cluster, as_of, active, tally)
                    if number == 0:
                        bulk.measure(
                            UsageRecord, UsageDay
                        )  # empty till now, it may be, and soon it's millions
        except Unreadable as error:
            raise CommandError(f"{file}: {error}") from error
        except KeyboardInterrupt:
            raise CommandError(
                "Stopped. What was read so far is recorded: start again to go on.", returncode=130
            ) from None
        self._sum_up(tally, rejected)

    def _take(self, batch: Batch, named: str, as_of: datetime, active: frozenset[str], tally: Tally) -> int:
        """Record one batch, cluster by cluster; how many of its records could not be read."""
        runs: dict[str, list[Run]] = defaultdict(list)
        for run in batch.runs:
            runs[run.cluster].append(run)
        for name, of_cluster in runs.items():
            cluster = self._cluster(name)
            tally += usage.record_runs(
                of_cluster,
                cluster=cluster,
                as_of=as_of,
                in_queue=active,
                attribute=partial(attribution, cluster),
            )
        if batch.rejected:
            usage.quarantine(self._cluster(named), batch.rejected, alarm=False)
        return len(batch.rejected)

    def _cluster(self, name: str) -> Cluster:
        """The cluster of that name. A new one is known for its accounting only: it takes no jobs."""
        known = Cluster.objects.filter(name=name).first()
        if known:
            return known
        cluster = Cluster(name=name, title=name)
        try:
            cluster.full_clean()
        except ValidationError:
            raise CommandError(
                f"“{name}” is no cluster's name: use letters, digits, dash and underscore."
            ) from None
        cluster.save()
        self.stderr.write(f"New cluster {name}: the portal keeps its accounting, and sends no jobs to it.")
        return cluster

    def _progress(self, batches: Iterable[Batch], size: int) -> Iterator[Batch]:
        """Says now and then how far it is, how fast, and how long it will still take."""
        began = said = time.monotonic()
        count = 0
        for batch in batches:
            yield batch
            count += batch.count
            now = time.monotonic()
            if now - said >= SAY_EVERY:
                said = now
                done = f"{count:,} records, {count / (now - began):,.0f} per second"
                if size and batch.until:
                    part = min(batch.until / size, 1.0)
                    done = f"{part:4.0%}  {done}, {duration(int((now - began) * (1 - part) / part))} left"
                self.stderr.write(done)

    def _sum_up(self, tally: Tally, rejected: int) -> None:
        say = self.stdout.write
        say(f"{tally.new:,} new, {tally.changed:,} changed, {tally.unchanged:,} unchanged.")
        if tally.charged:
            say(f"{tally.charged:,} ledger entries written.")
        if tally.unassigned:
            say(
                f"{tally.unassigned:,} on accounts that no project owns: kept, and shown to staff as unassigned."
            )
        if tally.provisional:
            say(f"{tally.provisional:,} still running: provisional.")
        for name, count in sorted(tally.anomalies.items()):
            say(f"{count:,} with anomaly {name}.")
        if rejected:
            say(f"{rejected:,} could not be read: kept in quarantine, nothing of them is counted.")


def _opened(file: Path) -> BinaryIO:
    try:
        return file.open("rb")
    except OSError as error:
        raise CommandError(f"Can't read {file}: {error.strerror}.") from error


def _moment(text: str | None) -> datetime:
    if text is None:
        return timezone.now().replace(microsecond=0)
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise CommandError(f"--as-of {text}: write it like 2025-12-31T12:00:00.") from None
    return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise CommandError(f"--timezone {name}: no such time zone. Write it like Europe/Berlin.") from None
