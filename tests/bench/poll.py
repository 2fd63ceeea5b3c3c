"""What does one look at a cluster cost the portal, whatever the number of live jobs?

    ./dev bench poll [--sqlite]

10, 1,000 and 10,000 live jobs; the cluster's answers are put together as Slurm writes them. Prints remote calls, queries
and the portal's own time. Ends with 1 if a cycle takes it a second or more.
"""

from __future__ import annotations

import signal
import sys
from pathlib import Path

import pytest

MEASURING = Path(__file__).parent / "measuring" / "polling.py"

if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    sys.exit(pytest.main([str(MEASURING), "-q", "-s", "--no-header", "--create-db"]))
