"""`./dev manage …`: the portal's manage.py on what ./dev keeps for it."""

import subprocess

from dev import node, places, python, rights, say, settings

# They say themselves what the database lacks, or need none.
WITHOUT_DATABASE = {
    "moves",
    *("check", "collectstatic", "compilemessages", "diffsettings", "help", "makemessages", "makemigrations"),
    *(
        "migrate",
        "showmigrations",
        "spectacular",
        "sqlmigrate",
        "test",
        "version",
        "--help",
        "-h",
        "--version",
    ),
    *("create_max_migration_files", "rebase_migration", "optimizemigration", "squashmigrations"),
}


def manage(words: list[str]) -> int:
    """Runs one command and gives its exit status. Standard output is the command's alone."""
    python.install()
    node.install()
    places.folder(places.DEMO)
    env = settings.demo() | {"DEVELOPING": "1"}
    if words and words[0] not in WITHOUT_DATABASE:
        bring_database_up_to_date(env)
    return subprocess.run(command(*words), cwd=places.ROOT, **rights.as_owner(env)).returncode


def command(*words: str) -> list[str]:
    return [places.program("python"), str(places.ROOT / "manage.py"), *words]


def bring_database_up_to_date(env: dict[str, str]) -> None:
    """Migrates, if the database is behind the code."""
    as_owner = rights.as_owner(env)
    behind = subprocess.run(command("migrate", "--check"), cwd=places.ROOT, capture_output=True, **as_owner)
    if behind.returncode == 0:
        return
    with say.step("Bringing the database up to date") as under_way:
        log = places.folder(places.LOGS) / "migrate.log"
        say.run_logged(under_way, command("migrate", "--no-input"), log, cwd=places.ROOT, **as_owner)
