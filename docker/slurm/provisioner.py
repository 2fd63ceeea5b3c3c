#!/usr/bin/python3
"""The cluster's own hook that makes POSIX users and shuts them out: the portal asks through its admin, root decides here.

The admin may write into provision/requests and nowhere else. A request is a file USERNAME.json with
{"username": …, "want": "active"} or "disabled"; the answer appears as provision/answers/USERNAME.json with
{"username": …, "state": "exists", "uid": …}, "disabled", or {"username": …, "state": "refused", "reason": …}.
What lies in the folder is written by somebody else: nothing of it is trusted, links and pipes are not followed.

usage: provisioner.py STATE-FOLDER (inside the instance's namespaces)
"""

import contextlib
import json
import os
import stat
import sys
import time
from pathlib import Path

import posix_users
import shutting_out
from instance import ClusterError, Instance, load, write_atomically

POLL_SECONDS = 0.5
LARGEST_REQUEST = 4096


def main(state: Path) -> None:
    instance = load(state)
    if instance is None:
        raise SystemExit(f"No cluster has been made in {state}.")
    while True:
        answer_all(instance)
        time.sleep(POLL_SECONDS)


def answer_all(instance: Instance) -> None:
    for request in sorted(instance.provision_requests.glob("[!.]*.json")):
        try:
            answer(request, instance)
            discard(request)
        except OSError as trouble:
            print(f"{request.name!r} has to wait: {trouble}", flush=True)


def answer(request: Path, instance: Instance) -> None:
    """Do what one request asks and say what came of it; without a possible username there is nobody to answer."""
    username = request.stem
    if not posix_users.USERNAME.fullmatch(username):
        print(f"ignored: {request.name!r} names no user", flush=True)
        return
    try:
        want = wanted(request, username)
        posix_users.check(username, instance)
        said = do(want, username, instance)
    except ClusterError as refusal:
        said = {"state": "refused", "reason": str(refusal)}
    print(f"{username}: {said}", flush=True)
    text = json.dumps({"username": username, **said}) + "\n"
    write_atomically(instance.provision_answers / f"{username}.json", text)


def do(want: str, username: str, instance: Instance) -> dict[str, object]:
    if want == "disabled":
        shutting_out.shut_out(username, instance)
        return {"state": "disabled"}
    uid = posix_users.provide(username, instance)
    shutting_out.let_in(username, instance)
    return {"state": "exists", "uid": uid}


def wanted(request: Path, username: str) -> str:
    try:
        content = json.loads(read_small_file(request))
    except (OSError, ValueError, RecursionError) as trouble:
        raise posix_users.Refused("The request is no small file of JSON.") from trouble
    if not isinstance(content, dict) or content.get("username") != username:
        raise posix_users.Refused("The request names another user than its file does.")
    if content.get("uid_hint") is not None:
        raise posix_users.Refused("This cluster gives out uids by itself.")
    want = content.get("want", "active")
    if want not in ("active", "disabled"):
        raise posix_users.Refused("A user is wanted active or disabled, nothing else.")
    return str(want)


def read_small_file(path: Path) -> str:
    """The text of a regular file; raises OSError for links, pipes, devices and what is too large."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    with os.fdopen(descriptor) as file:
        about = os.fstat(descriptor)
        if not stat.S_ISREG(about.st_mode) or about.st_size > LARGEST_REQUEST:
            raise OSError("not a small regular file")
        return file.read(LARGEST_REQUEST)


def discard(request: Path) -> None:
    """Take the request away, also where a folder bears its name; an answered request must not be answered for ever."""
    with contextlib.suppress(FileNotFoundError):
        if request.is_dir() and not request.is_symlink():
            request.rename(request.with_name(f".{request.name}.{time.time_ns()}"))
        else:
            request.unlink()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
