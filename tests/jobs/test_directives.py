"""What is taken of a script's #SBATCH and #PBS lines, and that every other line is named."""

from __future__ import annotations

import pytest

from jobs.directives import MAX_LISTED, Directives, minutes, read


def of(*lines: str) -> Directives:
    return read("#!/bin/bash\n" + "\n".join(lines) + "\npython train.py\n")


@pytest.mark.parametrize(
    ("line", "gpus"),
    [
        ("#SBATCH --gpus=4", 4),
        ("#SBATCH --gpus a100:4", 4),
        ("#SBATCH -G 2", 2),
        ("#SBATCH -G2", 2),
        ("#SBATCH --gres=gpu:8", 8),
        ("#SBATCH --gres=gpu", 1),
        ("#SBATCH --gres=gpu:a100:3", 3),
        ("#SBATCH --gres gpu:2   # two will do", 2),
        ("#SBATCH --nodes=2 --gres=gpu:8", 16),
        ("#SBATCH -N2 --gpus-per-node=4", 8),
        ("#PBS -l select=2:ncpus=8:ngpus=4", 8),
        ("#PBS -l nodes=1:gpus=2,walltime=1:00:00", 2),
        ("#SBATCH --gpus=0", None),
        ("#SBATCH --gpus=many", None),
        ("#SBATCH --gpus=１", None),
        ("#SBATCH --gres=shard:4", None),
        ("# SBATCH --gpus=4", None),
        ("#SBATCHER --gpus=4", None),
    ],
)
def test_gpus_are_understood(line: str, gpus: int | None) -> None:
    assert of(line).gpus == gpus


@pytest.mark.parametrize(
    ("clock", "expected"),
    [
        ("90", 90),
        ("90:30", 91),
        ("1:30:00", 90),
        ("1-0", 1440),
        ("1-2:30", 1590),
        ("1-2:30:01", 1591),
        ("0:0:10", 1),
        ("0", None),
        ("-5", None),
        ("UNLIMITED", None),
        ("INFINITE", None),
        ("1:2:3:4", None),
        ("999999999999", None),
        ("１０", None),
        ("", None),
    ],
)
def test_time_limits_are_understood(clock: str, expected: int | None) -> None:
    assert minutes(clock) == expected


def test_the_usual_head_is_understood() -> None:
    found = of("#SBATCH --job-name=digits", "#SBATCH -p a100", "#SBATCH --time=2:00:00", "#SBATCH --gpus=2")
    assert found == Directives(gpus=2, time_limit_minutes=120, name="digits", partition="a100")


def test_pbs_is_understood() -> None:
    found = of("#PBS -N digits", "#PBS -q gpu", "#PBS -l walltime=01:30:00")
    assert (found.name, found.partition, found.time_limit_minutes) == ("digits", "gpu", 90)


@pytest.mark.parametrize(
    ("line", "word"),
    [
        ("#SBATCH --account=other --array=0-9999", "project"),
        ("#SBATCH --array=0-9999", "1 000 tasks at most"),
        ("#SBATCH --array=1-1001", "tasks at most"),
        ("#SBATCH --array=0-8:2", "plain range"),
        ("#SBATCH --array=1,3,5", "plain range"),
        ("#SBATCH --array=5", "plain range"),
        ("#SBATCH --array=2-9", "plain range"),
        ("#SBATCH --array=1-0", "plain range"),
        ("#SBATCH --array=0-9%0", "plain range"),
        ("#SBATCH --array", "plain range"),
        ("#SBATCH -a 0-９", "plain range"),
        ("#SBATCH hetjob", "unlike parts"),
        ("#SBATCH --accou=other", "by itself"),
        ("#SBATCH --gpus=4 --chdir=/etc", "files of each job"),
        ("#SBATCH --output=/etc/passwd", "files of each job"),
        ("#SBATCH --time=UNLIMITED", "can't be read"),
        ("#SBATCH --job-name='", "can't be read"),
        ("#SBATCH --mail-type=ALL", "page"),
        ("#SBATCH --wrap=id", "by itself"),
        ("#SBATCH --job-name='a\x1b[31m'", "can't be read"),
        ("#PBS -V", "by itself"),
    ],
)
def test_each_line_that_was_not_taken_is_named_with_its_reason(line: str, word: str) -> None:
    (ignored,) = of(line).ignored
    assert ignored.number == 2
    assert word in str(ignored.why)


@pytest.mark.parametrize(
    ("line", "tasks", "at_once", "counts_from_1"),
    [
        ("#SBATCH --array=0-9", 10, None, False),
        ("#SBATCH --array=0-9%3", 10, 3, False),
        ("#SBATCH -a 0-999", 1000, None, False),
        ("#SBATCH --array=1-10%2", 10, 2, True),
        ("#SBATCH --array=1-1000%5000", 1000, 1000, True),
        ("#SBATCH --array=0-0", 1, None, False),
    ],
)
def test_a_plain_array_is_understood(line: str, tasks: int, at_once: int | None, counts_from_1: bool) -> None:
    found = of(line)
    assert (found.tasks, found.at_once, found.counts_from_1, found.ignored) == (
        tasks,
        at_once,
        counts_from_1,
        (),
    )


def test_what_is_known_of_a_half_ignored_line_is_taken() -> None:
    assert of("#SBATCH --gpus=4 --chdir=/etc").gpus == 4


def test_lines_after_the_first_command_are_not_read() -> None:
    found = read("#!/bin/bash\necho hello\n#SBATCH --gpus=4\n")
    assert found.gpus is None
    assert found.ignored[0].number == 3


def test_a_line_is_shown_without_what_can_not_be_seen_and_not_endless() -> None:
    (ignored,) = of("#SBATCH --comment=\u202eevil" + "x" * 3000).ignored
    assert "\u202e" not in ignored.text
    assert len(ignored.text) <= 120


def test_the_list_of_ignored_lines_ends() -> None:
    assert len(of(*["#SBATCH --foo"] * 5000).ignored) == MAX_LISTED
