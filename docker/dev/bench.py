"""`./dev bench NAME`: how fast is it?"""

import subprocess

from dev import node, places, python, rights, settings
from dev.say import Stop

FOLDER = places.ROOT / "tests" / "bench"


def bench(words: list[str]) -> int:
    names = sorted(path.stem for path in FOLDER.glob("[a-z]*.py"))
    if not words:
        print("\n".join(names) or "There are no benches yet: put one into tests/bench/NAME.py.")
        return 0
    if words[0] not in names:
        raise Stop(f"There is no bench {words[0]!r}. There are: {', '.join(names) or 'none'}.")
    python.install()
    node.install()
    command = [places.program("python"), str(FOLDER / f"{words[0]}.py"), *words[1:]]
    env = settings.demo() | {"PYTHONPATH": str(places.ROOT)}
    return subprocess.run(command, cwd=places.ROOT, **rights.as_owner(env)).returncode
