"""A site's history: read beside the writing; repeated it changes nothing, interrupted it goes on, and what is newer in the file
always wins."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from io import StringIO
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from django.core.management import CommandError, call_command

from accounting import usage
from accounting.models import UsageDay, UsageRecord
from jobs import history
from jobs.history import Unreadable, batches
from portal.models import Project

HEADER = "Cluster|DBIndex|JobIDRaw|JobID|Account|Start|End|State|AllocTRES"
HOUR = 3600
READING = [sys.executable, "-c", history.READING]

pytestmark = pytest.mark.django_db(transaction=True)


def record(number: int, hours: int = 1, *, account: str = "squeezed-light", cluster: str = "alpha") -> str:
    return f"{cluster}|{number}|{number}|{number}|{account}|2025-06-10T00:00:00|2025-06-10T{hours:02}:00:00|COMPLETED|gres/gpu=2"


def written(tmp_path: Path, *records: str) -> Path:
    file = tmp_path / "records.txt"
    file.write_text("\n".join((HEADER, *records)) + "\n")
    return file


def bring(tmp_path: Path, *records: str, **options: str) -> str:
    said = StringIO()
    file = written(tmp_path, *records)
    call_command("import_sacct", str(file), cluster="alpha", stdout=said, stderr=StringIO(), **options)
    return said.getvalue()


def hours() -> list[int]:
    return [record.gpu_seconds // HOUR // 2 for record in UsageRecord.objects.order_by("identity")]


def spoil() -> None:
    """Whoever compares the records with their text would find a difference now."""
    UsageRecord.objects.update(state="SPOILT")


def spoilt() -> list[str]:
    return [
        *UsageRecord.objects.filter(state="SPOILT").order_by("identity").values_list("identity", flat=True)
    ]


def test_what_is_recorded_from_the_same_text_is_not_even_compared(tmp_path: Path) -> None:
    bring(tmp_path, record(1), record(2))
    spoil()
    assert bring(tmp_path, record(1), record(2), record(3)).startswith("1 new, 0 changed, 2 unchanged")
    assert spoilt() == ["1", "2"]


def test_an_import_that_was_interrupted_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history, "BATCH", 2)
    with monkeypatch.context() as patched:
        record_runs, times = usage.record_runs, iter(range(3))

        def stopped(*args: object, **options: object) -> object:
            if next(times) == 2:
                raise KeyboardInterrupt
            return record_runs(*args, **options)  # type: ignore[arg-type]

        patched.setattr(usage, "record_runs", stopped)
        with pytest.raises(CommandError, match="start again to go on") as stop:
            bring(tmp_path, *map(record, range(1, 7)))
        assert stop.value.returncode == 128 + signal.SIGINT
    assert hours() == [1] * 4
    assert bring(tmp_path, *map(record, range(1, 7))).startswith("2 new, 0 changed, 4 unchanged")
    assert hours() == [1] * 6


@pytest.mark.parametrize("batch", [1, 2, 100])
def test_the_later_of_two_lines_wins_however_they_are_batched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, batch: int
) -> None:
    monkeypatch.setattr(history, "BATCH", batch)
    bring(tmp_path, record(1, 5))
    bring(tmp_path, record(1, 2), record(1, 5))
    assert hours() == [5]
    bring(tmp_path, record(1, 5), record(1, 2), record(2), record(1, 5))
    assert hours() == [5, 1]
    bring(tmp_path, record(1, 5), record(1, 3))
    assert hours() == [3, 1]


def test_the_same_text_of_another_zone_is_compared(tmp_path: Path) -> None:
    bring(tmp_path, record(1))
    assert bring(tmp_path, record(1), timezone="Asia/Shanghai").startswith("0 new, 1 changed")
    assert UsageDay.objects.get().day.isoformat() == "2025-06-09"


def test_an_account_that_became_a_projects_is_compared_again(tmp_path: Path, project: Project) -> None:
    bring(tmp_path, record(1, account="helices"))
    Project.objects.filter(pk=project.pk).update(account="helices")
    assert bring(tmp_path, record(1, account="helices")).startswith("0 new, 1 changed")
    assert (UsageRecord.objects.get().project, UsageDay.objects.get().project) == (project, project)


def test_a_running_record_is_compared_again(tmp_path: Path) -> None:
    open_record = record(1).replace("2025-06-10T01:00:00|COMPLETED", "Unknown|RUNNING")
    bring(tmp_path, open_record)
    spoil()
    bring(tmp_path, open_record)
    assert not spoilt()


# ── The process that reads ────────────────────────────────────────────────────────────────────────────


def reading(file: Path) -> Iterator[history.Batch]:
    return batches(file.open("rb"), delimiter=None, zone=ZoneInfo("UTC"), cluster="alpha")


def options(batch: int = 1) -> str:
    return json.dumps([None, "UTC", "alpha", batch])


def test_it_brings_the_records_of_the_file_in_its_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(history, "BATCH", 2)
    file = written(tmp_path, record(1), "cut off", record(2), record(3))
    found = list(reading(file))
    assert [[run.job_id for run in batch.runs] for batch in found] == [["1"], ["2", "3"]]
    assert [batch.count for batch in found] == [2, 2]
    assert found[-1].until == file.stat().st_size


def test_it_reads_a_pipe_too(tmp_path: Path) -> None:
    source, sink = os.pipe()
    with os.fdopen(sink, "w") as pipe:
        pipe.write("\n".join((HEADER, record(1), "")))
    with os.fdopen(source, "rb") as pipe:
        (batch,) = batches(pipe, delimiter=None, zone=ZoneInfo("UTC"), cluster="alpha")
    assert (batch.count, batch.until) == (1, 0)


def test_whoever_takes_no_more_waits_for_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history, "BATCH", 1)
    source, sink = os.pipe()
    os.write(sink, "\n".join((HEADER, record(1), "")).encode())
    with os.fdopen(source, "rb") as pipe:
        taken = batches(pipe, delimiter=None, zone=ZoneInfo("UTC"), cluster="alpha")
        os.write(sink, ("\n".join(map(record, range(2, 200))) + "\n").encode())  # and no end of it
        assert next(taken).count == 1
        taken.close()  # type: ignore[attr-defined]
    os.close(sink)


def test_what_it_cannot_read_is_told_in_words(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match=r"records\.txt: Is a directory"):
        (tmp_path / "records.txt").mkdir()
        call_command("import_sacct", str(tmp_path / "records.txt"), cluster="alpha", stderr=StringIO())


def test_that_it_was_ended_from_outside_is_told_in_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(history, "READING", "import os, signal; os.kill(os.getpid(), signal.SIGKILL)")
    with pytest.raises(Unreadable, match=r"ended too early \(status -9\)"):
        list(reading(written(tmp_path, record(1))))


def test_it_ends_without_a_word_when_nobody_takes_what_it_reads(tmp_path: Path) -> None:
    file = written(tmp_path, *map(record, range(5000)))
    with (
        file.open("rb") as source,
        subprocess.Popen(
            [*READING, options()], stdin=source, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        ) as process,
    ):
        assert process.stdout
        assert process.stderr
        process.stdout.read(1)
        process.stdout.close()
        assert process.wait(timeout=30) == -signal.SIGPIPE
        assert process.stderr.read() == b""


def test_it_leaves_ctrl_c_to_the_one_that_writes(tmp_path: Path) -> None:
    file = written(tmp_path, *map(record, range(5000)))
    with (
        file.open("rb") as source,
        subprocess.Popen([*READING, options()], stdin=source, stdout=subprocess.PIPE) as process,
    ):
        assert process.stdout
        process.stdout.read(1)  # it is under way
        process.send_signal(signal.SIGINT)
        process.stdout.read()
        assert process.wait(timeout=30) == 0
