"""Is this container's program well? Exit code 0: yes. Docker asks now and then.

usage: health.py web | worker
"""

import http.client
import os
import socket
import subprocess
import sys
from urllib.parse import urlsplit

PORT = 8000
ANSWER_SECONDS = 15


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
    ping = ["celery", "-A", "portal", "inspect", "ping", "-d", me, "-t", str(ANSWER_SECONDS)]
    return subprocess.run(ping, stdout=subprocess.DEVNULL).returncode == 0


PROGRAMS = {"web": web_is_well, "worker": worker_is_well}


def main(words: list[str]) -> int:
    if len(words) != 1 or words[0] not in PROGRAMS:
        sys.exit(__doc__)
    return 0 if PROGRAMS[words[0]]() else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
