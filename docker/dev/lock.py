"""`./dev lock`: chooses versions anew and writes them, with their hashes, into the lock files. They name no host."""

import json
import os
import shutil

from dev import node, places, python, rights, say

PIP_COMPILE = [
    *("--generate-hashes", "--allow-unsafe", "--strip-extras", "--upgrade"),
    *("--no-emit-index-url", "--no-emit-trusted-host", "--no-emit-find-links"),
]


def lock() -> int:
    python.install()
    _lock_python()
    _lock_node()
    print("The lock files are new. Look at the difference, then: ./dev test")
    return 0


def _lock_python() -> None:
    as_owner = rights.as_owner(dict(os.environ))
    for name in ("run", "dev"):  # dev.in keeps to the versions of run.txt
        with say.step(f"Locking requirements/{name}.in") as under_way:
            command = [
                places.program("pip-compile"),
                *PIP_COMPILE,
                "--output-file",
                f"{name}.txt",
                f"{name}.in",
            ]
            log = places.folder(places.LOGS) / "lock.log"
            say.run_logged(under_way, command, log, cwd=places.ROOT / "requirements", **as_owner)


def _lock_node() -> None:
    folder = places.folder(places.STATE / "lock")
    shutil.copy(node.MANIFEST, folder)
    (folder / node.LOCK.name).unlink(missing_ok=True)
    with say.step("Locking package.json") as under_way:
        npm = [
            places.program("npm"),
            "install",
            "--package-lock-only",
            "--ignore-scripts",
            "--no-audit",
            "--no-fund",
        ]
        log = places.folder(places.LOGS) / "lock.log"
        say.run_logged(under_way, npm, log, cwd=folder, **rights.as_owner(node.environment()))
    tree = json.loads((folder / node.LOCK.name).read_text())
    for package in tree["packages"].values():
        package.pop("resolved", None)  # from where: npm asks the registry that the machine names
        package.pop("funding", None)
    node.LOCK.write_text(json.dumps(tree, indent=2, ensure_ascii=False) + "\n")
    shutil.rmtree(folder)
