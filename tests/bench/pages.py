"""How fast is every page in a centre in full swing, and how much faster is it in one that has just opened?

    ./dev bench pages [--sqlite] [WORD …]

The bare centre is the tests' world: a few people of each role, and one of each thing. The full one is a copy of it with
500 institutions, 2,000 projects, 20,000 people and 50,000 jobs laid around. Both are served by gunicorn with two workers;
each page is asked by each role that gets it. WORDs keep the pages whose address or role has one of them. Ends with 1 if a page
takes more than 15 queries, is more than 1.5 times slower than in the bare centre, or has a p95 of 50 ms or more.

Pytest makes the world and its database; nothing here is a test of the usual runs.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import pytest

MEASURING = Path(__file__).parent / "measuring" / "every_page.py"
WORDS = "BENCH_WORDS"

if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # its servers end with it
    os.environ[WORDS] = " ".join(sys.argv[1:])
    sys.exit(pytest.main([str(MEASURING), "-q", "-s", "--no-header", "--create-db"]))
