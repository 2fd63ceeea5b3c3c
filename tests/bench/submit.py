"""How fast do waiting jobs reach the scheduler, and how soon has a click its id? On the real one-machine Slurm.

    ./dev bench submit [waiting | click]

500 jobs of one member and 500 of 20, waiting in the database, are drained to Slurm's ids: jobs per second, beside a shell
loop of sbatch on the login node and one SSH exec for each. Then clicks while nothing else goes on, through Redis and a
real worker, beside `ssh login-node sbatch` on a kept connection. Ends with 1 if the portal reaches less than 0.7 of the
loop, or a click takes more than three times as long.
"""

from __future__ import annotations

import signal
import sys
from pathlib import Path

import pytest

MEASURING = Path(__file__).parent / "measuring" / "submitting.py"

if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    chosen = ["-k", sys.argv[1]] if len(sys.argv) > 1 else []
    sys.exit(pytest.main([str(MEASURING), "-q", "-s", "--no-header", "--create-db", *chosen]))
