"""Is this container's program well? Exit code 0: yes. Docker asks now and then.

usage: health.py web | worker | beat SCHEDULE-FILE
"""

import http.client
import os
import socket
import subprocess
import sys
import time
from pathlib import Path
from urllib.parse import urlsplit

PORT = 8000
ANSWER_SECONDS = 15
SCHEDULE_SECONDS = 600  # beat writes its schedule down every three minutes


def web_is_well() -> bool:
    """The log-in page comes. Asked for by the portal's own name: others are refused."""
    name = urlsplit(os.environ.get("SITE_URL", "http://127.0.0.1")).netloc
    connection = http.client.HTTPConnection("127.0.0.1", PORT, timeout=ANSWER_SECONDS)
    try:
        connection.request("GET", "/accounts/login/", headers={"Host": name})
        return connection.getresponse().status == http.HTTPStatus.OK
    except OSError:
        return False
    finally:
        connection.close()


def worker_is_well() -> bool:
    """It hears Redis and answers, also while its processes are busy."""
    me = f"celery@{socket.gethostname()}"
    ping = [
        "celery",
        "-A",
        "portal",
        "inspect",
        "ping",
        "--destination",
        me,
        "--timeout",
        str(ANSWER_SECONDS),
    ]
    return subprocess.run(ping, stdout=subprocess.DEVNULL).returncode == 0


def beat_is_well(schedule: Path) -> bool:
    """It wrote its schedule lately; the file's ending is up to the database that Python finds."""
    written = [file.stat().st_mtime for file in schedule.parent.glob(f"{schedule.name}*")]
    return max(written, default=0.0) > time.time() - SCHEDULE_SECONDS


def main(words: list[str]) -> int:
    match words:
        case ["web"]:
            well = web_is_well()
        case ["worker"]:
            well = worker_is_well()
        case ["beat", schedule]:
            well = beat_is_well(Path(schedule))
        case _:
            sys.exit(__doc__)
    return 0 if well else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
