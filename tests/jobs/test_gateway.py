"""The gateway on the login node: its closed list, its folders, its marks; run as the program that it is."""

import base64
import hashlib
import json
import os
import signal
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from tests.jobs.login_node import Gateway, install_gateway

TOKEN = "abcdefghijklmnopqrstuvwxyz"
OTHER = TOKEN[::-1]


@pytest.fixture
def gateway(tmp_path: Path) -> Gateway:
    return install_gateway(tmp_path)


@pytest.fixture
def folder(gateway: Gateway) -> Path:
    """The job's folder with a script in it."""
    gateway.run(("prepare", [], TOKEN))
    put(gateway, "run.sh", b"echo hello\n")
    return gateway.folder(TOKEN)


def one(
    gateway: Gateway, verb: str, *args: str, token: str = "", role: str = "member", budget: int = 30
) -> dict[str, Any]:
    (result,) = gateway.run((verb, list(args), token), role=role, budget=budget)
    return result


def told(gateway: Gateway, verb: str, *args: str, token: str = TOKEN, role: str = "member") -> dict[str, Any]:
    result = one(gateway, verb, *args, token=token, role=role)
    assert result["exit"] == 0, result
    answer: dict[str, Any] = json.loads(result["stdout"])
    return answer


def refused(gateway: Gateway, verb: str, *args: str, token: str = TOKEN, role: str = "member") -> str:
    result = one(gateway, verb, *args, token=token, role=role)
    assert result["exit"] == 64 and result["stdout"] == "", result
    assert result["stderr"].startswith("gateway: ")
    return str(result["stderr"])


def put(gateway: Gateway, name: str, body: bytes, **changes: object) -> tuple[int, dict[str, Any]]:
    """`changes` of the header; `body` is what is sent."""
    header = {
        "token": TOKEN,
        "path": name,
        "offset": 0,
        "size": len(body),
        "sha256": hashlib.sha256(body).hexdigest(),
        "mode": "600",
        **changes,
    }
    done = gateway.call("put", json.dumps(header).encode() + b"\n" + body)
    assert done.stderr == b""
    return done.returncode, json.loads(done.stdout)


def get(
    gateway: Gateway, path: str, offset: int = 0, length: int = 1 << 30
) -> tuple[int, dict[str, Any], bytes]:
    header = {"token": TOKEN, "path": path, "offset": offset, "length": length}
    done = gateway.call("get", json.dumps(header).encode() + b"\n")
    line, _, body = done.stdout.partition(b"\n")
    return done.returncode, json.loads(line), body


# ── What may be said ─────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "word", ["", "sh", "run", "talk; id", "talk\n", "scp -t .", "internal-sftp", "TALK", "put x"]
)
def test_it_knows_three_words_and_opens_no_shell(gateway: Gateway, word: str) -> None:
    done = gateway.call(word, b"")
    assert done.returncode == 2
    assert "opens no shell" in json.loads(done.stdout)["error"]


BAD_REQUESTS = [
    b"",
    b"{",
    b"[]",
    b"\xff\xfe",
    b"[" * 100_000,
    b'{"v":1,"budget":9,"calls":[]}',
    b'{"v":2,"budget":9,"calls":{}}',
    b'{"v":2,"budget":9,"calls":[1]}',
    b'{"v":2,"budget":-1,"calls":[]}',
    b'{"v":2,"budget":true,"calls":[]}',
    b'{"v":2,"budget":9,"calls":[{"verb":"hello"}]}',
    b'{"v":2,"budget":9,"calls":[{"verb":"hello","args":"x","token":""}]}',
    b'{"v":2,"budget":9,"calls":[{"verb":"hello","args":[1],"token":""}]}',
    b'{"v":2,"budget":9,"calls":[{"verb":"hello","args":["a\\u0000b"],"token":""}]}',
    b'{"v":2,"budget":9,"calls":[' + b'{"verb":"x","args":[],"token":""},' * 1001 + b"1]}",
    b"x" * (9 << 20),
]


@pytest.mark.parametrize("request_text", BAD_REQUESTS, ids=range(len(BAD_REQUESTS)))
@pytest.mark.parametrize("word", ["talk", "put", "get"])
def test_what_cannot_be_read_is_answered_in_json(gateway: Gateway, word: str, request_text: bytes) -> None:
    done = gateway.call(word, request_text + b"\n")
    assert done.returncode == 2 and done.stderr == b""
    assert json.loads(done.stdout)["error"]


@pytest.mark.parametrize("arguments", [[], ["--role"], ["--role", "root"], ["--role", "member", "more"]])
def test_it_needs_a_role(gateway: Gateway, arguments: list[str]) -> None:
    done = subprocess.run([sys.executable, gateway.program, *arguments], capture_output=True)
    assert done.returncode == 2 and b"usage" in done.stdout


@pytest.mark.parametrize(
    ("role", "verb"),
    [
        *(("member", verb) for verb in ("sinfo", "sreport", "sacctmgr-user", "request-user", "rm", "")),
        *(("collector", verb) for verb in ("sbatch", "scancel", "prepare", "tail", "sacctmgr-account")),
        *(("admin", verb) for verb in ("sbatch", "squeue", "sacct", "tail", "list", "sacctmgr-qos")),
        *(("fencer", verb) for verb in ("sbatch", "scancel-of", "sacctmgr-user", "request-user", "sacct")),
    ],
)
def test_each_role_has_its_own_verbs(gateway: Gateway, role: str, verb: str) -> None:
    assert "no such verb" in refused(gateway, verb, role=role)


@pytest.mark.parametrize("word", ["put", "get"])
@pytest.mark.parametrize("role", ["collector", "admin", "fencer"])
def test_only_members_have_files(gateway: Gateway, word: str, role: str) -> None:
    assert gateway.call(word, b"{}\n", role).returncode == 2


@pytest.mark.parametrize(
    ("role", "verb", "option"),
    [
        ("member", "sbatch-test", "--wrap=id"),
        ("member", "sbatch-test", "--qos=normal"),
        ("member", "sbatch-test", "--qos=al-7,normal"),
        ("member", "sbatch-test", "--account=a b"),
        ("member", "sbatch-test", "--account"),
        ("member", "sbatch-test", "--requeue=yes"),
        ("member", "sbatch-test", "--time=0"),
        ("member", "sbatch-test", "--time=UNLIMITED"),
        ("member", "sbatch-test", "--time=-5"),
        ("member", "sbatch-test", "--array=0-9999"),
        ("member", "sbatch-test", "--array=0-1000"),
        ("member", "sbatch-test", "--array=0-0"),
        ("member", "sbatch-test", "--array=1-9"),
        ("member", "sbatch-test", "--array=0-9:2"),
        ("member", "sbatch-test", "--array=0-9%0"),
        ("member", "sbatch-test", "--array=0-9%"),
        ("member", "sbatch-test", "--array=0,5"),
        ("member", "sbatch-test", "--array=0-9,20-29"),
        ("member", "sbatch-test", "--array=0-09"),
        ("member", "sbatch-test", "--array=0-９"),
        ("member", "sbatch-test", "--array"),
        ("member", "sbatch-test", "--export=ALL"),
        ("member", "sbatch-test", "--chdir=/etc"),
        ("member", "sbatch-test", "--accou=other"),
        ("member", "sbatch-test", "--gres=gpu:a100:2,license:1"),
        ("member", "sbatch-test", "/bin/sh"),
        ("member", "squeue", "--user=root"),
        ("member", "squeue", "--format=%j"),
        ("member", "sacct", "--allusers"),
        ("member", "sacct", "--file=/etc/shadow"),
        ("member", "sacct", "--starttime=now"),
        ("collector", "sacct", "--delimiter=|"),
        ("collector", "sacct", "--name=x"),
        ("collector", "sacct", "--jobs=7,8_1"),
        ("collector", "sacct", "--jobs=7 8"),
    ],
)
def test_only_listed_options_with_narrow_values_pass(
    gateway: Gateway, role: str, verb: str, option: str
) -> None:
    for program in ("sbatch", "squeue", "sacct", "sreport"):
        gateway.slurm(program, "touch ~/called")
    assert "not allowed" in refused(gateway, verb, option, role=role)
    assert not (gateway.home / "called").exists()


SIGHT = """case "$*" in
  *user*) echo Operator ;;
  *configuration*) printf 'StoragePass = secret\\nPrivateData            = jobs,usage\\n' ;;
  *associations*) printf 'root\\nportal\\nportal\\n' ;;
esac"""


def test_a_collector_hears_how_much_it_may_see_and_no_more(gateway: Gateway) -> None:
    gateway.slurm("sacctmgr", SIGHT)
    said = one(gateway, "sacctmgr-sight", role="collector")
    assert said["stdout"] == "level|Operator\nprivate|jobs,usage\naccounts|2\n"
    gateway.slurm("sacctmgr", "echo no database >&2; exit 1")
    said = one(gateway, "sacctmgr-sight", role="collector")
    assert (said["exit"], said["stdout"], said["stderr"]) == (1, "", "no database\n")
    gateway.slurm("sacct", 'echo "$*"')
    assert one(gateway, "sacct-fields", role="collector")["stdout"] == "--helpformat\n"
    gateway.slurm("scontrol", 'echo "$*"')
    assert one(gateway, "scontrol-config", role="collector")["stdout"] == "show config\n"
    for verb in ("scontrol-config", "sacct-fields", "sacctmgr-sight"):
        assert one(gateway, verb, "x", role="collector")["exit"] == 64
        assert one(gateway, verb, role="member")["exit"] == 64


# ── Running a program ────────────────────────────────────────────────────────


def test_a_program_gets_a_clean_environment(gateway: Gateway) -> None:
    gateway.configure(slurm_conf="/etc/slurm/here.conf")
    gateway.slurm("squeue", "env")
    lines = set(one(gateway, "squeue")["stdout"].splitlines())
    names = {line.partition("=")[0] for line in lines} - {"PWD", "_", "SHLVL", "OLDPWD"}
    assert names == {"PATH", "HOME", "LANG", "LC_ALL", "TZ", "SLURM_CONF", "SLURM_TIME_FORMAT"}
    assert {"TZ=UTC", "LANG=C.UTF-8", "SLURM_CONF=/etc/slurm/here.conf"} <= lines


def test_members_see_their_own_only(gateway: Gateway) -> None:
    for program in ("squeue", "sacct"):
        gateway.slurm(program, 'echo "$@"')
        assert "--user=" in one(gateway, program)["stdout"]


def test_a_deadline_ends_a_program_and_its_children(gateway: Gateway) -> None:
    gateway.slurm("squeue", "sleep 60 & echo $! > ~/child; wait")
    began = time.monotonic()
    result = one(gateway, "squeue", budget=1)
    assert result["exit"] is None and "out of time" in result["stderr"]
    assert time.monotonic() - began < 10
    child = (gateway.home / "child").read_text().strip()
    assert not alive(child)


def alive(pid: str) -> bool:
    try:
        state = (Path("/proc") / pid / "stat").read_text().split(")")[1].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


def test_after_a_deadline_nothing_more_is_started(gateway: Gateway) -> None:
    gateway.slurm("squeue", "echo x >> ~/calls; sleep 60")
    first, second = gateway.run(("squeue", [], ""), ("squeue", [], ""), budget=1)
    assert first["exit"] is None
    assert second["exit"] == 75 and second["stderr"].startswith("gateway: not started")
    assert (gateway.home / "calls").read_text() == "x\n"


def test_output_is_capped_and_says_so(gateway: Gateway) -> None:
    gateway.slurm("squeue", "head -c 70000000 /dev/zero | tr '\\0' x; echo end >&2; exit 7")
    result = one(gateway, "squeue")
    assert result["truncated"] is True
    assert (result["exit"], len(result["stdout"]), result["stderr"]) == (7, 64 << 20, "end\n")


def test_bytes_that_are_no_text_do_not_break_the_answer(gateway: Gateway) -> None:
    gateway.slurm("squeue", r"printf 'caf\351\n'")
    assert one(gateway, "squeue")["stdout"] == "caf\ufffd\n"


def test_a_missing_program_was_surely_not_started(gateway: Gateway) -> None:
    gateway.configure(path=str(gateway.root / "bin"))
    result = one(gateway, "squeue")
    assert result["exit"] == 75 and result["stderr"].startswith("gateway: not started")


def test_one_bad_call_stops_no_other(gateway: Gateway) -> None:
    gateway.slurm("squeue", "echo fine")
    results = gateway.run(("rm", [], ""), ("tail", ["../x", "0"], TOKEN), ("squeue", [], ""))
    assert [result["exit"] for result in results] == [64, 64, 0]


# ── Folders and paths ────────────────────────────────────────────────────────


def test_a_folder_is_made_once_and_closed_to_others(gateway: Gateway) -> None:
    assert told(gateway, "prepare") == {"created": True}
    assert told(gateway, "prepare") == {"created": False}
    assert gateway.folder(TOKEN).stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("token", ["", "x", "../../../etc", TOKEN.upper(), TOKEN + "a", TOKEN + "\n"])
@pytest.mark.parametrize("verb", ["prepare", "list", "forget", "sbatch"])
def test_only_tokens_name_folders(gateway: Gateway, verb: str, token: str) -> None:
    refused(gateway, verb, *(["run.sh"] if verb == "sbatch" else []), token=token)


BAD_PATHS = [
    "",
    "/etc/passwd",
    "../x",
    "a/../../x",
    "a//b",
    "a/",
    ".",
    ".ssh/authorized_keys",
    "-rf",
    "~root",
    "a/.b",
    "a\nb",
    "a\x1bb",
    "a\u202eb",
    "x" * 201,
    "é" * 101,
    "/".join("abcdefghijklmnopq"),
]


@pytest.mark.parametrize("path", BAD_PATHS)
def test_no_path_leads_out_of_the_folder(gateway: Gateway, folder: Path, path: str) -> None:
    refused(gateway, "tail", path, "0")
    refused(gateway, "offset", path)
    assert put(gateway, path, b"x")[0] == 1
    assert get(gateway, path)[0] == 1


def test_no_link_is_followed(gateway: Gateway, folder: Path, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.mkdir()
    (secret / "key").write_text("hidden")
    (folder / "file").symlink_to(secret / "key")
    (folder / "inner").symlink_to(secret)
    for path in ("file", "inner/key"):
        assert "hidden" not in str(get(gateway, path))
        refused(gateway, "tail", path, "0")
        put(gateway, path, b"overwritten")
    assert (secret / "key").read_text() == "hidden"
    assert (folder / "file").read_bytes() == b"overwritten" and not (folder / "file").is_symlink()


def test_a_linked_folder_of_all_jobs_is_refused(gateway: Gateway, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (gateway.home / "firefly").symlink_to(tmp_path / "elsewhere")
    assert one(gateway, "prepare", token=TOKEN)["exit"] == 73
    assert not list((tmp_path / "elsewhere").iterdir())


def test_a_pipe_holds_nobody(gateway: Gateway, folder: Path) -> None:
    os.mkfifo(folder / "pipe")
    assert "regular" in refused(gateway, "tail", "pipe", "0")
    assert get(gateway, "pipe")[0] == 1


def test_the_list_names_plain_files_and_counts_the_rest(gateway: Gateway, folder: Path) -> None:
    (folder / "out").mkdir()
    (folder / "out" / "curve é.png").write_bytes(b"png")
    (folder / "out" / ".hidden").write_text("x")
    (folder / "a\nb").write_text("x")
    (folder / "link").symlink_to("run.sh")
    os.mkfifo(folder / "pipe")
    listing = told(gateway, "list")
    assert [(f["path"], f["size"]) for f in listing["files"]] == [("out/curve é.png", 3), ("run.sh", 11)]
    assert (listing["others"], listing["truncated"]) == (3, False)


def test_a_tail_begins_where_it_is_asked_to(gateway: Gateway, folder: Path) -> None:
    (folder / "log").write_bytes(b"x" * 300_000 + b"\xff end")
    end = told(gateway, "tail", "log", "-1")
    assert (end["size"], end["offset"]) == (300_005, 300_005 - (256 << 10))
    assert base64.b64decode(end["data"]).endswith(b"\xff end")
    piece = told(gateway, "tail", "log", "299999")
    assert base64.b64decode(piece["data"]) == b"x\xff end"
    assert told(gateway, "tail", "log", "999999999") == {"size": 300_005, "offset": 300_005, "data": ""}
    assert told(gateway, "tail", "none", "0") == {"size": None, "offset": 0, "data": ""}


def test_it_tells_the_space_that_is_left(gateway: Gateway) -> None:
    space = told(gateway, "space", token="")
    assert 0 < space["free"] <= space["total"]


# ── Files there and back ─────────────────────────────────────────────────────


def test_a_file_arrives_whole_with_its_mode(gateway: Gateway, folder: Path) -> None:
    assert put(gateway, "data/deep/x.bin", b"\x00\xff\n" * 9, mode="700") == (
        0,
        {"v": 2, "offset": 27, "complete": True},
    )
    path = folder / "data/deep/x.bin"
    assert path.read_bytes() == b"\x00\xff\n" * 9
    assert path.stat().st_mode & 0o777 == 0o700
    assert get(gateway, "data/deep/x.bin", 1, 3) == (0, {"v": 2, "size": 27, "length": 3}, b"\xff\n\x00")


def test_an_empty_file_arrives(gateway: Gateway, folder: Path) -> None:
    assert put(gateway, "empty", b"")[1]["complete"] is True
    assert get(gateway, "empty")[1:] == ({"v": 2, "size": 0, "length": 0}, b"")


def test_a_file_in_pieces_is_resumed_and_has_its_name_only_when_whole(gateway: Gateway, folder: Path) -> None:
    body = os.urandom(3_000_000)
    whole: dict[str, object] = {"size": len(body), "sha256": hashlib.sha256(body).hexdigest()}
    assert put(gateway, "big", body[:1_000_000], **whole)[1] == {
        "v": 2,
        "offset": 1_000_000,
        "complete": False,
    }
    assert told(gateway, "offset", "big") == {"offset": 1_000_000}
    assert not (folder / "big").exists()
    assert "big" not in str(told(gateway, "list"))
    put(gateway, "big", body[500_000:2_000_000], offset=500_000, **whole)
    assert put(gateway, "big", body[2_000_000:], offset=2_000_000, **whole)[1]["complete"] is True
    assert (folder / "big").read_bytes() == body


def test_completing_twice_is_completing_once(gateway: Gateway, folder: Path) -> None:
    put(gateway, "a", b"hello")
    code, answer = put(gateway, "a", b"", offset=5, size=5, sha256=hashlib.sha256(b"hello").hexdigest())
    assert (code, answer["complete"]) == (0, True)


def test_another_content_takes_the_place_of_the_old(gateway: Gateway, folder: Path) -> None:
    put(gateway, "a", b"old content")
    put(gateway, "a", b"new")
    assert (folder / "a").read_bytes() == b"new"


def test_a_wrong_checksum_leaves_nothing_and_asks_for_another_try(gateway: Gateway, folder: Path) -> None:
    code, answer = put(gateway, "a", b"hello", sha256=hashlib.sha256(b"other").hexdigest())
    assert code == 1 and answer["transient"] is True and "sha256" in answer["error"]
    assert told(gateway, "offset", "a") == {"offset": 0}
    assert not (folder / "a").exists()


@pytest.mark.parametrize(
    "changes",
    [
        {"offset": 6},
        {"offset": -1},
        {"size": -1},
        {"size": 10**30},
        {"size": "5"},
        {"size": None},
        {"mode": "4755"},
        {"mode": 700},
        {"sha256": "short"},
        {"token": OTHER},
        {"token": None},
        {"path": 5},
        {"path": "stdout.log"},
        {"path": "stdout-3.log"},
        {"path": "stderr.log/x"},
    ],
    ids=str,
)
def test_a_header_that_lies_or_makes_no_sense_is_answered_in_words(
    gateway: Gateway, folder: Path, changes: dict[str, object]
) -> None:
    code, answer = put(gateway, "a", b"hello", **changes)
    assert code in (1, 2) and answer["error"]
    assert not (folder / "a").exists()


def test_more_bytes_than_announced_are_refused(gateway: Gateway, folder: Path) -> None:
    code, answer = put(gateway, "a", b"hello and more", size=5)
    assert code == 1 and "more bytes" in answer["error"]
    assert not (folder / "a").exists()


def test_a_full_disk_is_told_in_words(gateway: Gateway, folder: Path) -> None:
    body = b"x" * 4_000_000
    header = {
        "token": TOKEN,
        "path": "big",
        "offset": 0,
        "size": len(body),
        "sha256": "0" * 64,
        "mode": "600",
    }
    limited = ["prlimit", "--fsize=2000000", *gateway.command()]
    done = subprocess.run(
        limited,
        input=json.dumps(header).encode() + b"\n" + body,
        capture_output=True,
        env={**os.environ, "SSH_ORIGINAL_COMMAND": "put"},
    )
    assert done.returncode == 1
    assert "large" in json.loads(done.stdout)["error"]
    assert told(gateway, "offset", "big")["offset"] == 2_000_000


@pytest.mark.parametrize(
    ("path", "says"), [("none", "No such file"), ("none/deeper", "No such file"), ("run.sh/x", "Not a dir")]
)
def test_a_file_that_is_not_there_is_told(gateway: Gateway, folder: Path, path: str, says: str) -> None:
    code, answer, body = get(gateway, path)
    assert (code, body) == (1, b"")
    assert says in answer["error"]


# ── Submitting once ──────────────────────────────────────────────────────────

OPTIONS = ("--account=proj1", "--time=5", "--gres=gpu:a100:2")


def submit(gateway: Gateway, script: str = "run.sh", budget: int = 30) -> dict[str, Any]:
    return one(gateway, "sbatch", *OPTIONS, script, token=TOKEN, budget=budget)


def count(gateway: Gateway) -> int:
    calls = gateway.home / "calls"
    return len(calls.read_text().splitlines()) if calls.exists() else 0


def test_it_submits_our_script_and_names_only_what_is_ours(gateway: Gateway, folder: Path) -> None:
    gateway.slurm("sbatch", 'for a; do echo "$a"; done > ~/args; echo 530')
    assert submit(gateway) == {"exit": 0, "stdout": "530\n", "stderr": "", "truncated": False}
    args = (gateway.home / "args").read_text().splitlines()
    assert args[:3] == list(OPTIONS)
    assert set(args[3:]) == {
        "--parsable",
        f"--job-name={TOKEN}",
        f"--chdir={folder}",
        f"--output={folder}/stdout.log",
        f"--error={folder}/stderr.log",
        "--open-mode=append",
        "--export=NONE",
        "--ignore-pbs",
        str(gateway.root / "libexec" / "job.sh"),
    }
    assert (folder / ".script").read_text() == "run.sh\n"


@pytest.mark.parametrize("array", ["0-1", "0-9%3", "0-999%999"])
def test_each_task_of_a_sweep_has_a_log_of_its_own(gateway: Gateway, folder: Path, array: str) -> None:
    gateway.slurm("sbatch", 'for a; do echo "$a"; done > ~/args; echo 534')
    assert one(gateway, "sbatch", *OPTIONS, f"--array={array}", "run.sh", token=TOKEN)["stdout"] == "534\n"
    args = (gateway.home / "args").read_text().splitlines()
    assert f"--array={array}" in args
    assert {f"--output={folder}/stdout-%a.log", f"--error={folder}/stderr-%a.log"} <= set(args)
    assert f"--output={folder}/stdout.log" not in args


def file(path: str = "run.sh", body: bytes = b"echo hello\n", **changes: str) -> dict[str, str]:
    """One that travels with the submission."""
    whole = {
        "path": path,
        "mode": "600",
        "sha256": hashlib.sha256(body).hexdigest(),
        "data": base64.b64encode(body).decode(),
    }
    return whole | changes


def submit_with(gateway: Gateway, *files: dict[str, str]) -> dict[str, Any]:
    call = {"verb": "sbatch", "args": [*OPTIONS, "run.sh"], "token": TOKEN, "files": files}
    done = gateway.call("talk", json.dumps({"v": 2, "budget": 30, "calls": [call]}).encode())
    assert done.returncode == 0, done
    (result,) = json.loads(done.stdout)["results"]
    return dict(result)


def test_small_files_travel_with_the_submission_and_lie_there_before_it(gateway: Gateway) -> None:
    gateway.slurm("sbatch", f"cat ~/firefly/{TOKEN}/run.sh ~/firefly/{TOKEN}/data/x.bin > ~/seen; echo 530")
    result = submit_with(gateway, file(mode="700"), file("data/x.bin", b"\x00\xff"))
    assert (result["exit"], result["stdout"]) == (0, "530\n")
    assert (gateway.home / "seen").read_bytes() == b"echo hello\n\x00\xff"
    folder = gateway.folder(TOKEN)
    assert [stat.S_IMODE((folder / name).stat().st_mode) for name in ("", "run.sh", "data/x.bin")] == [
        0o700,
        0o700,
        0o600,
    ]


def test_a_job_that_was_submitted_keeps_its_files(gateway: Gateway) -> None:
    """It runs, and may have changed them."""
    gateway.slurm("sbatch", "echo 530")
    submit_with(gateway, file())
    (gateway.folder(TOKEN) / "run.sh").write_text("changed")
    assert submit_with(gateway, file())["stdout"] == "530\n"
    assert (gateway.folder(TOKEN) / "run.sh").read_text() == "changed"


def test_nor_are_those_of_one_touched_of_which_nobody_knows(gateway: Gateway) -> None:
    gateway.slurm("sbatch", "sleep 60")
    one(gateway, "prepare", token=TOKEN)
    (gateway.folder(TOKEN) / "run.sh").write_text("first")
    assert submit(gateway, budget=1)["exit"] is None
    assert submit_with(gateway, file())["exit"] is None
    assert (gateway.folder(TOKEN) / "run.sh").read_text() == "first"


@pytest.mark.parametrize(
    ("spoiled", "says"),
    [
        ({"sha256": "0" * 64}, "differ"),
        ({"path": "folder"}, "directory"),
        ({"path": "run.sh/below"}, "directory"),
        ({"path": "link/x"}, ""),
    ],
    ids=["damaged", "a folder's name", "below a file", "through a link"],
)
def test_files_that_cannot_be_written_are_no_submission_and_leave_no_mark(
    gateway: Gateway, folder: Path, spoiled: dict[str, str], says: str
) -> None:
    (folder / "folder").mkdir()
    (folder / "link").symlink_to("/tmp")
    gateway.slurm("sbatch", "echo x >> ~/calls; echo 530")
    result = submit_with(gateway, file(), file("data", b"x") | spoiled)
    assert result["exit"] == 73 and result["stderr"].startswith("gateway: ") and says in result["stderr"]
    assert count(gateway) == 0
    assert submit_with(gateway, file())["exit"] == 0


@pytest.mark.parametrize("path", ["../x", "/x", "stdout.log", ".ssh/x", ".submitted", ""])
def test_a_file_that_travels_along_stays_in_the_folder(gateway: Gateway, path: str) -> None:
    gateway.slurm("sbatch", "echo x >> ~/calls; echo 530")
    assert submit_with(gateway, file(), file(path))["exit"] == 64
    assert count(gateway) == 0
    assert submit_with(gateway, file())["exit"] == 0, "a refusal leaves no mark"


def test_a_full_disk_refuses_the_files_and_submits_nothing(gateway: Gateway) -> None:
    gateway.slurm("sbatch", "echo x >> ~/calls; echo 530")
    call = {"verb": "sbatch", "args": [*OPTIONS, "run.sh"], "token": TOKEN}
    request = {"v": 2, "budget": 9, "calls": [call | {"files": [file(), file("big", bytes(100_000))]}]}
    done = subprocess.run(
        ["prlimit", "--fsize=50000", *gateway.command()],
        input=json.dumps(request).encode(),
        capture_output=True,
        env={**os.environ, "SSH_ORIGINAL_COMMAND": "talk"},
    )
    (result,) = json.loads(done.stdout)["results"]
    assert result["exit"] == 73 and "large" in result["stderr"]
    assert count(gateway) == 0
    assert not (gateway.folder(TOKEN) / ".submitting").exists()


def test_one_program_answers_request_after_request(gateway: Gateway) -> None:
    gateway.slurm("squeue", "echo $PPID")
    request = json.dumps({"v": 2, "budget": 9, "calls": [{"verb": "squeue", "args": [], "token": ""}]})
    done = gateway.call("talk", f"{request}\n{request}\n".encode())
    first, second = (json.loads(line) for line in done.stdout.splitlines())
    assert done.returncode == 0
    assert first["results"] == second["results"] and first["results"][0]["exit"] == 0


def test_a_portal_of_another_version_is_told_so(gateway: Gateway) -> None:
    done = gateway.call("talk", b'{"v":1,"budget":9,"calls":[]}')
    assert "version 2" in json.loads(done.stdout)["error"]


def test_a_second_submission_gives_the_first_id(gateway: Gateway, folder: Path) -> None:
    gateway.slurm("sbatch", "echo x >> ~/calls; echo 530")
    assert [submit(gateway)["stdout"] for _ in range(3)] == ["530\n"] * 3
    assert count(gateway) == 1


def test_a_lost_answer_is_not_known_until_it_is_forgotten(gateway: Gateway, folder: Path) -> None:
    gateway.slurm("sbatch", "echo x >> ~/calls; sleep 60")
    assert submit(gateway, budget=1)["exit"] is None
    gateway.slurm("sbatch", "echo x >> ~/calls; echo 531")
    again = submit(gateway)
    assert again["exit"] is None and count(gateway) == 1
    assert told(gateway, "forget") == {"forgotten": True}
    assert told(gateway, "forget") == {"forgotten": False}
    assert submit(gateway)["stdout"] == "531\n" and count(gateway) == 2


def test_what_was_submitted_is_never_forgotten(gateway: Gateway, folder: Path) -> None:
    gateway.slurm("sbatch", "echo 530")
    submit(gateway)
    assert "530" in refused(gateway, "forget")


def test_what_is_still_being_sent_is_never_forgotten(gateway: Gateway, folder: Path) -> None:
    gateway.slurm("sbatch", "echo $$ > ~/pid.new; mv ~/pid.new ~/pid; exec sleep 30")
    request = {
        "v": 2,
        "budget": 60,
        "calls": [{"verb": "sbatch", "args": [*OPTIONS, "run.sh"], "token": TOKEN}],
    }
    sending = subprocess.Popen(
        [sys.executable, str(gateway.program), "--role", "member"],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        env={**os.environ, "HOME": str(gateway.home), "SSH_ORIGINAL_COMMAND": "talk"},
    )
    assert sending.stdin
    sending.stdin.write(json.dumps(request).encode())
    sending.stdin.close()
    wait_for(gateway.home / "pid")
    assert "still being sent" in refused(gateway, "forget")
    sending.kill()  # the gateway dies; sbatch lives on and may yet be heard
    sending.wait()
    assert "still being sent" in refused(gateway, "forget")
    os.kill(int((gateway.home / "pid").read_text()), signal.SIGKILL)
    wait_until(lambda: one(gateway, "forget", token=TOKEN)["exit"] == 0)


def wait_for(path: Path) -> None:
    wait_until(path.exists)


def wait_until(condition: Any) -> None:
    ends = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < ends
        time.sleep(0.02)


def test_many_at_once_submit_once(gateway: Gateway, folder: Path) -> None:
    gateway.slurm("sbatch", "echo x >> ~/calls; sleep 0.3; echo 530")
    results: list[dict[str, Any]] = []
    threads = [threading.Thread(target=lambda: results.append(submit(gateway))) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert count(gateway) == 1
    assert {(result["exit"], result["stdout"]) for result in results} <= {(0, "530\n"), (None, "")}


def test_a_refusal_passes_in_the_schedulers_words(gateway: Gateway, folder: Path) -> None:
    gateway.slurm("sbatch", "echo 'sbatch: error: Batch job submission failed: Invalid account' >&2; exit 1")
    result = submit(gateway)
    assert result["exit"] == 1 and "Invalid account" in result["stderr"]


@pytest.mark.parametrize("script", ["none.sh", "../run.sh", "/bin/sh", "--wrap=id", "folder", "link"])
def test_a_script_is_a_plain_file_of_the_folder(gateway: Gateway, folder: Path, script: str) -> None:
    (folder / "folder").mkdir()
    (folder / "link").symlink_to("/bin/sh")
    gateway.slurm("sbatch", "echo x >> ~/calls; echo 530")
    refused(gateway, "sbatch", *OPTIONS, script)
    refused(gateway, "sbatch")
    assert count(gateway) == 0
    assert submit(gateway)["exit"] == 0, "a refusal leaves no mark"


def test_cancelling_needs_owner_name_and_id_together(gateway: Gateway) -> None:
    gateway.slurm("scancel", 'echo "$@"')
    args = one(gateway, "scancel", "530_1", token=TOKEN)["stdout"].split()
    assert args[1:] == [f"--name={TOKEN}", "530_1"] and args[0].startswith("--user=")
    for bad in ("", "-u root", "530 531", "all"):
        refused(gateway, "scancel", bad)
    refused(gateway, "scancel", "530", token="")


# ── Admin ────────────────────────────────────────────────────────────────────

SACCTMGR = """
case "$*" in
  *"show account name=uni,root"*|*"show account name=mine"*) ;;
  *"show account name=lab,uni"*) echo 'uni|firefly-portal' ;;
  *"show account name=proj"*) echo 'proj|firefly-portal' ;;
  *"show qos name=al-7 "*) echo 'al-7|firefly-portal' ;;
  *"show qos name=al-7,al-8 "*) echo 'al-7|firefly-portal'; echo 'al-8|firefly-portal' ;;
  *"show qos name=al-9 "*) echo 'al-9|long jobs of the department' ;;
  *"show qos"*) ;;
  *"show account name=physics"*|*"show account name=new,physics"*) echo 'physics|the department' ;;
  *show*account*) ;;
  *) echo "$@" >> ~/changes ;;
esac
"""


@pytest.fixture
def admin(gateway: Gateway, tmp_path: Path) -> Gateway:
    gateway.slurm("sacctmgr", SACCTMGR)
    for name in ("requests", "answers"):
        (tmp_path / name).mkdir()
    gateway.configure(
        provision_requests=str(tmp_path / "requests"), provision_answers=str(tmp_path / "answers")
    )
    return gateway


def changes(gateway: Gateway) -> str:
    path = gateway.home / "changes"
    return path.read_text() if path.exists() else ""


def test_accounts_are_marked_as_the_portals(admin: Gateway) -> None:
    assert one(admin, "sacctmgr-account", "lab", "uni", role="admin")["exit"] == 0
    assert "add account lab parent=uni organization=firefly-portal" in changes(admin)


@pytest.mark.parametrize(
    ("verb", "args"),
    [
        ("sacctmgr-account", ("physics", "root")),
        ("sacctmgr-account", ("new", "physics")),
        ("sacctmgr-account", ("new", "nowhere")),
        ("sacctmgr-user", ("fp-mei", "physics")),
        ("sacctmgr-user", ("fp-mei", "nowhere")),
        ("sacctmgr-user", ("root", "proj")),
        ("sacctmgr-user", ("mei", "proj")),
        ("sacctmgr-user", ("fp-mei", "proj set adminlevel=admin")),
        ("sacctmgr-user", ("fp-mei,root", "proj")),
        ("sacctmgr-remove-user", ("fp-mei", "physics")),
        ("sacctmgr-remove-user", ("root", "proj")),
        ("sacctmgr-account", ("Physics", "root")),
    ],
)
def test_no_other_account_and_no_other_user_is_touched(
    admin: Gateway, verb: str, args: tuple[str, ...]
) -> None:
    refused(admin, verb, *args, role="admin")
    assert changes(admin) == ""


def test_people_come_and_go(admin: Gateway) -> None:
    one(admin, "sacctmgr-user", "fp-mei", "proj", role="admin")
    one(admin, "sacctmgr-remove-user", "fp-mei", "proj", role="admin")
    assert "add user fp-mei account=proj\n" in changes(admin)
    assert "remove user name=fp-mei account=proj\n" in changes(admin)


def test_a_request_for_a_user_lands_where_the_centre_looks(admin: Gateway, tmp_path: Path) -> None:
    told(admin, "request-user", "fp-mei", role="admin")
    assert [path.name for path in (tmp_path / "requests").iterdir()] == ["fp-mei.json"]
    assert json.loads((tmp_path / "requests" / "fp-mei.json").read_text())["username"] == "fp-mei"
    assert told(admin, "user-answer", "fp-mei", role="admin") == {}
    (tmp_path / "answers" / "fp-mei.json").write_text('{"state": "refused", "reason": "no room"}')
    assert told(admin, "user-answer", "fp-mei", role="admin")["reason"] == "no room"
    assert told(admin, "user-exists", "fp-mei", role="admin") == {"exists": False}


@pytest.mark.parametrize("username", ["root", "mei", "fp-../x", "FP-mei", "fp-" + "x" * 40, ""])
def test_nobody_elses_user_is_asked_for(admin: Gateway, tmp_path: Path, username: str) -> None:
    for verb in ("request-user", "user-answer", "user-exists"):
        refused(admin, verb, username, role="admin")
    assert not list((tmp_path / "requests").iterdir())


def test_without_a_hook_the_site_makes_users_by_hand(gateway: Gateway) -> None:
    assert "by hand" in refused(gateway, "request-user", "fp-mei", role="admin")


def test_missing_settings_are_named(gateway: Gateway) -> None:
    (gateway.root / "libexec" / "gateway.json").unlink()
    done = gateway.call("talk", b'{"v":2,"budget":5,"calls":[{"verb":"squeue","args":[],"token":""}]}')
    assert done.returncode == 2 and "gateway.json" in json.loads(done.stdout)["error"]


# ── Fencer ───────────────────────────────────────────────────────────────────


def test_a_budget_is_made_and_marked_as_the_portals(admin: Gateway) -> None:
    assert one(admin, "sacctmgr-qos", "al-1", "60", role="fencer")["exit"] == 0
    assert changes(admin).endswith(
        "add qos al-1 flags=NoDecay GrpTRESMins=gres/gpu=60 description=firefly-portal\n"
    )


def test_a_budget_that_is_there_gets_another_limit(admin: Gateway) -> None:
    assert one(admin, "sacctmgr-qos", "al-7", "0", role="fencer")["exit"] == 0
    assert changes(admin).endswith("modify qos where name=al-7 set flags=NoDecay GrpTRESMins=gres/gpu=0\n")


def test_an_account_and_its_people_get_budgets_and_lose_all_others(admin: Gateway) -> None:
    assert one(admin, "sacctmgr-budget", "firefly", "proj", "al-7", "al-8", role="fencer")["exit"] == 0
    people, account = (line.partition("modify ")[2] for line in changes(admin).splitlines())
    assert people == "user where cluster=firefly account=proj set qos= defaultqos=-1"
    assert account == "account where cluster=firefly account=proj set qos=al-7,al-8 defaultqos=al-7"


@pytest.mark.parametrize(
    ("verb", "args"),
    [
        ("sacctmgr-qos", ("normal", "60")),
        ("sacctmgr-qos", ("al-9", "60")),  # the department's own
        ("sacctmgr-qos", ("al-1,normal", "60")),
        ("sacctmgr-qos", ("al-1", "-1")),
        ("sacctmgr-qos", ("al-1", "60 flags=")),
        ("sacctmgr-qos", ("al-1", "60", "adminlevel=admin")),
        ("sacctmgr-qos", ("al-1",)),
        ("sacctmgr-budget", ("firefly", "physics", "al-7")),
        ("sacctmgr-budget", ("firefly", "nowhere", "al-7")),
        ("sacctmgr-budget", ("firefly", "root", "al-7")),
        ("sacctmgr-budget", ("firefly", "proj", "normal")),
        ("sacctmgr-budget", ("firefly", "proj", "al-9")),
        ("sacctmgr-budget", ("firefly", "proj", "al-1")),  # not made yet
        ("sacctmgr-budget", ("firefly", "proj")),
        ("sacctmgr-budget", ("firefly account=root", "proj", "al-7")),
        ("sacctmgr-show-budget", ("firefly", "proj format=user")),
        ("sacctmgr-show-qos", ("al-7",)),
        ("scontrol-qos", ("flags=users",)),
    ],
)
def test_the_fencer_touches_the_portals_budgets_and_accounts_alone(
    admin: Gateway, verb: str, args: tuple[str, ...]
) -> None:
    refused(admin, verb, *args, role="fencer")
    assert changes(admin) == ""
