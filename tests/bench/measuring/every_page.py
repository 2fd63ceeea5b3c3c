"""`./dev bench pages`, run by pytest, which makes the world and its database. Not collected by the usual runs."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest
from django.conf import settings
from django.db import connection

from tests.belongings import World
from tests.bench.measuring.asking import served, visits
from tests.bench.measuring.figures import HEAD, measured
from tests.cluster.one_machine import CHECKOUT
from tests.running import database_url, environment

WORDS = "BENCH_WORDS"


def test_every_page(transactional_db: None, world: World, tmp_path: Path) -> None:
    words = os.environ.get(WORDS, "").split()
    wanted = [
        one
        for one in visits(world)
        if not words or any(word in f"{one.address} {one.role}" for word in words)
    ]
    bare = environment(DATABASE_URL=database_url(), UPLOAD_ROOT=str(settings.UPLOAD_ROOT))
    full = bare | {"DATABASE_URL": _copied(tmp_path)}
    print("\nLaying the full centre around the bare one …", flush=True)
    subprocess.run([sys.executable, "-m", "tests.bench.centre"], cwd=CHECKOUT, env=full, check=True)
    with ExitStack() as both:
        servers = [
            both.enter_context(served(n, env, tmp_path)) for n, env in (("full", full), ("bare", bare))
        ]
        print(f"\n{HEAD}", flush=True)
        slow = []
        for figures in measured(wanted, *servers):
            print(figures, "✗" if figures.faults else "", flush=True)
            slow += [figures] if figures.faults else []
    _drop_copy()
    if slow:
        told = (f"{one.visit.role}, {one.visit.address}: {', '.join(one.faults)}" for one in slow)
        pytest.fail("\n".join(["Not good enough:", *told]), pytrace=False)


def _copied(folder: Path) -> str:
    """A copy of this test's database; its URL."""
    if connection.vendor == "sqlite":
        connection.close()
        shutil.copy(connection.settings_dict["NAME"], folder / "full.sqlite3")
        return f"sqlite:///{folder}/full.sqlite3"
    name = connection.settings_dict["NAME"]
    with connection._nodb_cursor() as cursor:
        connection.close()
        cursor.execute(f'DROP DATABASE IF EXISTS "{name}_full"')
        cursor.execute(f'CREATE DATABASE "{name}_full" TEMPLATE "{name}"')
    return f"{database_url()}_full"


def _drop_copy() -> None:
    if connection.vendor == "postgresql":
        with connection._nodb_cursor() as cursor:
            cursor.execute(f'DROP DATABASE "{connection.settings_dict["NAME"]}_full" WITH (FORCE)')
