"""`./dev clean`: takes away what ./dev made."""

import shutil
from pathlib import Path

from dev import cluster, places, rights, running, say


def clean(*, everything: bool) -> int:
    """Stops the demo, removes its users and data. The installed packages stay, unless `everything`."""
    if not places.STATE.exists():
        print("There is nothing to remove.")
        return 0
    rights.become_root("Removing the demo's users")
    for what in ("demo", "test"):
        if running.stop(what):
            print(f"Stopped the running {what}.")
    for instance in _instances():
        print(cluster.destroy(instance))
    kept = [] if everything else [places.VENV, places.NODE]
    removed = [path for path in sorted(places.STATE.iterdir()) if path not in kept]
    for path in removed:
        _remove(path)
    print(f"Removed from .state: {', '.join(path.name for path in removed) or 'nothing'}.")
    if kept:
        print("The installed packages stay in .state; ./dev clean --all removes them too.")
    else:
        places.STATE.rmdir()
    return 0


def start_over() -> None:
    """Removes the demo's users and data, so that it begins anew."""
    with say.step("Removing the earlier demo"):
        cluster.destroy(places.DEMO)
        _remove(places.DEMO)


def _instances() -> list[Path]:
    """The folders that hold a cluster."""
    return [record.parent for record in sorted(places.STATE.glob("*/cluster.json"))]


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
