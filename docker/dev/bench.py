"""`./dev bench NAME`: how fast is it?"""

from collections.abc import Iterator
from contextlib import contextmanager

from dev import debian, node, places, postgres, prepare, python, rights, services, settings, suites
from dev.say import Stop

FOLDER = places.ROOT / "tests" / "bench"
ON_POSTGRESQL = {"ingest", "pages", "poll", "submit"}  # as production is; with --sqlite not
ON_SLURM = {"submit"}


def bench(words: list[str]) -> int:
    names = sorted(path.stem for path in FOLDER.glob("[a-z]*.py"))
    if not words:
        print("\n".join(names) or "There are no benches yet: put one into tests/bench/NAME.py.")
        return 0
    name, *rest = words
    if name not in names:
        raise Stop(f"There is no bench {name!r}. There are: {', '.join(names) or 'none'}.")
    python.install()
    node.install()
    command = [places.program("python"), str(FOLDER / f"{name}.py"), *(w for w in rest if w != "--sqlite")]
    with _database(name in ON_POSTGRESQL and "--sqlite" not in rest) as url, services.crew() as crew:
        env = settings.demo() | url | {"PYTHONPATH": str(places.ROOT)}
        prepare.translations(env)
        prepare.static_files(env)
        with _cluster(crew, env, name in ON_SLURM) as cluster:
            # Stopped with a goodbye, so that it can stop what it started.
            return crew.run(command, env | cluster, as_root=bool(cluster))


@contextmanager
def _cluster(crew: services.Crew, env: dict[str, str], wanted: bool) -> Iterator[dict[str, str]]:
    """The Slurm and the Redis of the tests, up; the settings that name them."""
    if not wanted:
        yield {}
        return
    with suites.parts(crew, env) as parts:
        yield parts


@contextmanager
def _database(on_postgresql: bool) -> Iterator[dict[str, str]]:
    """A PostgreSQL for this bench alone, as the setting that names it; else each bench makes its own SQLite."""
    if not on_postgresql:
        yield {}
        return
    rights.become_root("Measuring on PostgreSQL")
    services.end_on_signals()
    debian.install(["postgresql"])
    with postgres.running(places.folder(places.LOGS) / "bench-postgres.log") as url:
        yield {"DATABASE_URL": url}
