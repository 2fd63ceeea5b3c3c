"""`./dev SUBCOMMAND …`: which one is meant."""

import argparse
import sys

from dev import bench, checks, clean, demo, lock, manage, slurm, suites
from dev.say import Stop

HELP = """\
usage: ./dev COMMAND …

  demo [--once] [--fresh] [--port N]
                     the whole portal with a Slurm cluster of its own, in the foreground; Ctrl-C stops it
                       --once   do the main job by itself, compare the figures, stop
                       --fresh  start over with new data
  test [ARGS]        all tests on real parts; with pytest's arguments, those tests (--postgres: not on SQLite)
                       --long   soak and chaos take half an hour each, endurance an hour, instead of minutes
  check              format, lint, types, import arrows, migrations, templates, lock files, shell scripts
  manage COMMAND …   manage.py on the demo's database, or on the one that DATABASE_URL names
  slurm COMMAND …    a Slurm command inside the demo's cluster: ./dev slurm squeue
  bench [NAME]       run tests/bench/NAME.py, or list what there is
  lock               choose versions anew and write the lock files
  clean [--all]      stop this checkout's demo, remove its users and its data; --all: installed packages too
"""


def main(words: list[str]) -> int:
    if not words or words[0] in {"help", "-h", "--help"}:
        print(HELP, end="")
        return 0
    name, rest = words[0], words[1:]
    match name:
        case "demo":
            return demo.demo(_demo_options(rest))
        case "test":
            return suites.test(rest)
        case "manage":
            return manage.manage(rest)
        case "slurm":
            return slurm.slurm(rest)
        case "bench":
            return bench.bench(rest)
        case "check":
            return checks.check()
        case "lock":
            return lock.lock()
        case "clean":
            return clean.clean(everything=rest == ["--all"])
    print(f"./dev has no command {name!r}.\n\n{HELP}", end="", file=sys.stderr)
    return 2


def _demo_options(words: list[str]) -> demo.Options:
    parser = argparse.ArgumentParser(prog="./dev demo", allow_abbrev=False)
    parser.add_argument("--once", action="store_true", help="do the main job by itself, compare, stop")
    parser.add_argument("--fresh", action="store_true", help="start over with new data")
    parser.add_argument(
        "--port", type=int, default=8000, help="where the portal answers, if it is free (8000)"
    )
    given = parser.parse_args(words)
    return demo.Options(once=given.once, fresh=given.fresh, port=given.port)


if __name__ == "__main__":
    try:
        status = main(sys.argv[1:])
    except Stop as stop:
        print(f"\n{stop}", file=sys.stderr)
        status = 1
    except KeyboardInterrupt:
        print("\nStopped.", file=sys.stderr)
        status = 130
    sys.exit(status)
