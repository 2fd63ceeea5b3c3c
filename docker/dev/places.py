"""Where things lie. All state is below one ignored folder, which belongs to the owner of the checkout."""

from pathlib import Path

from dev import rights

ROOT = Path(__file__).resolve().parents[2]
STATE = ROOT / ".state"
VENV = STATE / "venv"
NODE = STATE / "node"
DEMO = STATE / "demo"
TEST = STATE / "test"
LOGS = STATE / "log"
CLUSTER = ROOT / "docker" / "slurm" / "cluster.py"


def folder(path: Path) -> Path:
    """The folder `path` below the checkout, made if missing."""
    if not path.is_dir():
        folder(path.parent)
        path.mkdir(exist_ok=True)
        rights.give_to_owner(path)
    return path


def program(name: str) -> str:
    """The path of a program of our Python packages."""
    return str(VENV / "bin" / name)
