"""The constant batch script: it runs the member's file once, passes signals on and ends as it ended."""

import os
import signal
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from tests.jobs.login_node import REMOTE


def start(
    folder: Path, payload: str | bytes, job: str = "530", name: str = "run.sh", **env: str
) -> subprocess.Popen[bytes]:
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(payload if isinstance(payload, bytes) else payload.encode())
    (folder / name).chmod(0o600)
    (folder / ".script").write_text(name + "\n")
    return again(folder, job, **env)


def again(folder: Path, job: str, **env: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [REMOTE / "job.sh"],
        cwd=folder,
        env={"PATH": os.environ["PATH"], "SLURM_JOB_ID": job, **env},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def end(process: subprocess.Popen[bytes]) -> tuple[int, str, str]:
    out, err = process.communicate(timeout=30)
    return process.returncode, out.decode(), err.decode()


def wait_for(path: Path) -> None:
    wait_until(path.exists)


def state_of(pid: int) -> str:
    """Of a process, in the kernel's word."""
    status = Path(f"/proc/{pid}/status").read_text()
    return status.partition("State:")[2].partition("(")[2].partition(")")[0]


def wait_until(reached: Callable[[], bool]) -> None:
    ends = time.monotonic() + 20
    while not reached():
        assert time.monotonic() < ends
        time.sleep(0.02)


@pytest.mark.parametrize(
    ("payload", "says"),
    [
        ("echo in $0; exit 7", "in ./run.sh\n"),
        ("#!/bin/sh\necho sh $0; exit 7", "sh ./run.sh\n"),
        ("#!/usr/bin/env python3\nimport sys; print('python'); sys.exit(7)", "python\n"),
    ],
)
def test_it_ends_as_the_payload_ends(tmp_path: Path, payload: str, says: str) -> None:
    assert end(start(tmp_path, payload)) == (7, says, "")


@pytest.mark.parametrize(
    "name", ["with space.sh", "-x".replace("-", "a-"), "deep/er/é$(id).sh", "'quote\".sh"]
)
def test_any_name_that_we_carry_runs(tmp_path: Path, name: str) -> None:
    assert end(start(tmp_path, "echo ran", name=name)) == (0, "ran\n", "")


def test_another_job_for_the_same_folder_runs_nothing(tmp_path: Path) -> None:
    payload = "echo ran >> ran"
    assert end(start(tmp_path, payload))[0] == 0
    code, _, err = end(start(tmp_path, payload, job="531"))
    assert code == 73 and "job 530" in err
    assert (tmp_path / "ran").read_text() == "ran\n"


def test_a_requeued_job_runs_again(tmp_path: Path) -> None:
    payload = "echo ran >> ran"
    assert [end(start(tmp_path, payload))[0] for _ in range(2)] == [0, 0]
    assert (tmp_path / "ran").read_text() == "ran\nran\n"


def test_of_many_at_once_one_runs(tmp_path: Path) -> None:
    first = start(tmp_path, "echo ran >> ran; sleep 0.2", job="100")
    codes = [end(process)[0] for process in [first, *(again(tmp_path, str(job)) for job in range(101, 110))]]
    assert sorted(codes) == [0] + [73] * 9
    assert (tmp_path / "ran").read_text() == "ran\n"


def task(array: str, number: int) -> dict[str, str]:
    return {"SLURM_ARRAY_JOB_ID": array, "SLURM_ARRAY_TASK_ID": str(number), "SLURM_ARRAY_TASK_COUNT": "3"}


def test_each_task_of_a_sweep_runs_and_again_when_it_is_requeued(tmp_path: Path) -> None:
    payload = "echo $FIREFLY_TASK of $FIREFLY_TASKS as $SLURM_ARRAY_TASK_ID"
    first = start(tmp_path, payload, "535", **task("534", 0))
    tasks = [first, *(again(tmp_path, str(535 + number), **task("534", number)) for number in (1, 2))]
    assert [end(one) for one in tasks] == [(0, f"{number} of 3 as {number}\n", "") for number in range(3)]
    assert end(again(tmp_path, "536", **task("534", 1))) == (0, "1 of 3 as 1\n", "")


def test_no_task_of_another_array_for_the_same_folder_runs(tmp_path: Path) -> None:
    assert end(start(tmp_path, "echo ran", "535", **task("534", 0)))[0] == 0
    for number in range(3):
        code, out, err = end(again(tmp_path, str(601 + number), **task("600", number)))
        assert (code, out) == (73, "") and "job 534" in err


def test_a_plain_job_is_task_0_of_1(tmp_path: Path) -> None:
    assert end(start(tmp_path, "echo $FIREFLY_TASK of $FIREFLY_TASKS")) == (0, "0 of 1\n", "")


TRAPS = "trap 'echo {0}; kept=yes' {0}; touch ready; while [ -z \"$kept\" ]; do sleep 0.05; done; exit 9"


@pytest.mark.parametrize("name", ["USR1", "TERM"])
def test_it_passes_signals_on_and_waits(tmp_path: Path, name: str) -> None:
    process = start(tmp_path, TRAPS.format(name))
    wait_for(tmp_path / "ready")
    process.send_signal(getattr(signal, f"SIG{name}"))
    assert end(process) == (9, f"{name}\n", "")


def test_a_notice_does_not_kill_who_does_not_listen(tmp_path: Path) -> None:
    process = start(tmp_path, "touch ready; while [ ! -e go ]; do sleep 0.01; done; echo done")
    wait_for(tmp_path / "ready")
    process.send_signal(signal.SIGUSR1)
    (tmp_path / "go").touch()
    assert end(process) == (0, "done\n", "")


def test_a_notice_as_the_payload_ends_changes_nothing(tmp_path: Path) -> None:
    """Bash's `wait` has lost the code once in some times then."""
    for _ in range(100):
        process = start(
            tmp_path, "trap 'exit 7' USR1; echo $$ > pid; touch ready; while :; do sleep 0.01; done"
        )
        wait_for(tmp_path / "ready")
        os.kill(int((tmp_path / "pid").read_text()), signal.SIGUSR1)
        process.send_signal(signal.SIGUSR1)
        assert end(process)[0] == 7
        (tmp_path / "ready").unlink()


@pytest.mark.parametrize(("name", "code"), [("USR1", 0), ("TERM", 128 + signal.SIGTERM)])
def test_a_signal_before_the_payload_begins_is_heard(tmp_path: Path, name: str, code: int) -> None:
    """It waits for the owner's name, which a pipe gives it only now."""
    os.mkfifo(tmp_path / ".owner")
    process = start(tmp_path, "exit 0")
    with suppress(BrokenPipeError), (tmp_path / ".owner").open("w") as owner:  # it may have heard and gone
        process.send_signal(getattr(signal, f"SIG{name}"))
        owner.write("530\n")
    assert end(process)[0] == code


def test_a_payload_that_is_killed_is_no_success(tmp_path: Path) -> None:
    process = start(tmp_path, "touch ready; exec sleep 30")
    wait_for(tmp_path / "ready")
    process.send_signal(signal.SIGTERM)
    assert end(process)[0] == 128 + signal.SIGTERM


@pytest.mark.parametrize("name", ["USR1", "TERM"])
@pytest.mark.parametrize("code", [0, 7])
def test_a_signal_in_the_moment_of_the_end_changes_nothing(tmp_path: Path, name: str, code: int) -> None:
    process = start(
        tmp_path, f"trap 'exit {code}' HUP; echo $$ > pid; touch ready; while :; do sleep 0.01; done"
    )
    wait_for(tmp_path / "ready")
    payload = int((tmp_path / "pid").read_text())
    process.send_signal(signal.SIGSTOP)
    wait_until(lambda: state_of(process.pid) == "stopped")
    os.kill(payload, signal.SIGHUP)
    wait_until(lambda: not Path(f"/proc/{payload}").exists())
    process.send_signal(getattr(signal, f"SIG{name}"))
    process.send_signal(signal.SIGCONT)
    assert end(process)[0] == code


def test_a_payload_that_is_killed_together_with_its_script_says_so(tmp_path: Path) -> None:
    """As the scheduler ends a job. Bash loses the code of a child then, once in five times or so."""
    for _ in range(40):
        process = start(tmp_path, "echo $$ > pid; touch ready; exec sleep 30")
        wait_for(tmp_path / "ready")
        os.kill(int((tmp_path / "pid").read_text()), signal.SIGTERM)
        process.send_signal(signal.SIGTERM)
        assert end(process)[0] == 128 + signal.SIGTERM
        (tmp_path / "ready").unlink()
