"""The portal's main job, done as a lab member does it: with a browser's requests and nothing else.

usage: main_job.py ADDRESS RESULTS-FOLDER        (MEMBER_EMAIL and MEMBER_PASSWORD in the environment)

Logs in, uploads the sample (a script and a data file), submits it for 2 GPUs, follows it, and downloads what it
wrote. In the end RESULTS-FOLDER/job.json says what the portal said of it.
"""

import html
import json
import os
import re
import sys
import threading
import time
from base64 import b64encode
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import urljoin, urlsplit

import requests

SAMPLE = Path(__file__).resolve().parent / "sample"
SCRIPT, DATA = "train.py", "params.json"
RESULTS = ("metrics.json", "curve.png")
GPUS, MINUTES = 2, 10
PATIENCE = 300  # seconds for the job, and for each file
ANSWER_SECONDS = 30
NO_MORE_NEWS = 286  # how the portal tells a page to stop asking


class Failed(Exception):
    """The portal did not do what it should; the text says what."""


class Page(HTMLParser):
    """What one reads off a page: its fields with their values, its links, its facts, and a job's state."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.fields: dict[str, str] = {}
        self.links: dict[str, str] = {}  # text → address
        self.facts: dict[str, str] = {}  # term → what stands beside it
        self.state = ""
        self._select = self._href = self._term = ""
        self._reading: list[str] = []
        self.feed(text)

    def field(self, name: str) -> str:
        """What stands in this field; of a choice, the first that it offers."""
        if not self.fields.get(name):
            raise Failed(f"The page has nothing for its field {name!r}.")
        return self.fields[name]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if tag == "input":
            self._offer(given.get("name", ""), given.get("value", ""))
        elif tag == "select":
            self._select = given.get("name", "")
        elif tag == "option":
            self._offer(self._select, given.get("value", ""))
        elif tag == "a":
            self._href, self._reading = given.get("href", ""), []
        elif tag in ("dt", "dd") or (tag == "span" and "state" in given.get("class", "").split()):
            self._reading = []

    def handle_data(self, data: str) -> None:
        self._reading.append(data)

    def handle_endtag(self, tag: str) -> None:
        text = " ".join("".join(self._reading).split())
        if tag == "a":
            self.links.setdefault(text, self._href)
        elif tag == "dt":
            self._term = text
        elif tag == "dd":
            self.facts.setdefault(self._term, text)
        elif tag == "span":
            self.state = self.state or text

    def _offer(self, name: str, value: str) -> None:
        if not self.fields.get(name):
            self.fields[name] = value


class Member:
    """A person's browser."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.http = requests.Session()
        self.http.headers["Accept-Language"] = "en"

    def log_in(self, email: str, password: str) -> None:
        token = Page(self.get("/accounts/login/").text).field("csrfmiddlewaretoken")
        fields = {"login": email, "password": password, "csrfmiddlewaretoken": token}
        if self._send("POST", "/accounts/login/", data=fields).url.rstrip("/").endswith("/accounts/login"):
            raise Failed(f"{email} could not log in.")

    def upload(self, file: Path) -> str:
        """Sends a file by the tus protocol, as the page's own client does; its id."""
        content, name = file.read_bytes(), b64encode(file.name.encode()).decode()
        about = {"Upload-Length": str(len(content)), "Upload-Metadata": f"filename {name}"}
        where = self._tus("POST", "/jobs/uploads/", about).headers["Location"]
        self._tus(
            "PATCH", where, {"Upload-Offset": "0", "Content-Type": "application/offset+octet-stream"}, content
        )
        return where.rpartition("/")[2]

    def submit(self, script: str, data: str) -> str:
        """Fills in the submit page; the path of the job's page."""
        page = Page(self.get("/jobs/new/").text)
        kept = {name: page.field(name) for name in ("csrfmiddlewaretoken", "project", "partition", "once")}
        shape = {"name": "Handwritten digits", "gpus": str(GPUS), "hours": "0", "minutes": str(MINUTES)}
        files = {"uploads": [script, data], "script": script}
        return urlsplit(self._send("POST", "/jobs/new/", data={**kept, **shape, **files}).url).path

    def get(self, path: str) -> requests.Response:
        return self._send("GET", path)

    def _tus(
        self, method: str, path: str, headers: dict[str, str], content: bytes = b""
    ) -> requests.Response:
        return self._send(method, path, headers={"Tus-Resumable": "1.0.0", **headers}, data=content)

    def _send(
        self, method: str, path: str, headers: Mapping[str, str] = {}, data: Any = None
    ) -> requests.Response:
        """The answer, after redirections; Failed unless it is a good one."""
        proof = {"Referer": self.address, "X-CSRFToken": self.http.cookies.get("csrftoken") or ""}
        answer = self.http.request(
            method,
            urljoin(self.address, path),
            headers={**proof, **headers},
            data=data,
            timeout=ANSWER_SECONDS,
        )
        if not answer.ok:
            raise Failed(
                f"{method} {path} answered {answer.status_code} {answer.reason}:\n{answer.text[:2000]}"
            )
        return answer


@dataclass(frozen=True)
class Outcome:
    """What the portal says of the job that succeeded. `charged_gpu_seconds` is the ledger's figure."""

    slurm_id: str
    charged_gpu_seconds: int
    log: str


def do_main_job(address: str, results: Path) -> Outcome:
    member, email = Member(address), os.environ["MEMBER_EMAIL"]
    member.log_in(email, os.environ["MEMBER_PASSWORD"])
    tell(f"Logged in as {email}")
    script, data = member.upload(SAMPLE / SCRIPT), member.upload(SAMPLE / DATA)
    tell(f"Uploaded {SCRIPT} and {DATA}")
    job = member.submit(script, data)
    tell(f"Submitted for {GPUS} GPUs: {urljoin(address, job)}")
    state, log = follow(member, job)
    page = Page(member.get(job).text)
    if state != "succeeded" or not page.links.keys() >= {*RESULTS}:
        raise Failed(f"The job {state}. The end of its log:\n" + "\n".join(log.splitlines()[-20:]))
    for name in RESULTS:
        content = download(member, page.links[name])
        keep(results / name, content)
        tell(f"Downloaded {name}: {len(content):,} bytes")
    slurm_id = page.facts["Slurm"]
    return Outcome(slurm_id, charge(member, slurm_id), log)


def follow(member: Member, job: str) -> tuple[str, str]:
    """Watches the job as its page does, until there will be no more news; its state then, and its log."""
    states, lines = [""], [""]

    def ended() -> bool:
        news, log = member.get(f"{job}news/"), member.get(f"{job}log/stdout/")
        state = Page(news.text).state
        if state != states[-1]:
            states.append(state)
            tell(f"The job is {state}")
        written = html.unescape(log.text).splitlines()
        if written and written[-1] != lines[-1]:
            tell(f"    {written[-1]}")
        lines[:] = written or [""]
        return news.status_code == log.status_code == NO_MORE_NEWS

    wait_until(ended, "the job has ended and its log is read")
    return states[-1], "\n".join(lines)


def download(member: Member, address: str) -> bytes:
    """Asks for a result until it is brought from the cluster."""
    found: list[bytes] = []

    def arrived() -> bool:
        answer = member.get(address)
        if "attachment" in answer.headers.get("Content-Disposition", ""):
            found.append(answer.content)
        return bool(found)

    wait_until(arrived, f"{address} is here")
    return found[0]


def charge(member: Member, slurm_id: str) -> int:
    """What the ledger says that the job cost, in GPU-seconds."""
    entries = [
        entry
        for allocation in member.get("/api/v1/allocations/").json()["results"]
        for entry in member.get(f"/api/v1/allocations/{allocation['id']}/ledger/").json()["results"]
    ]
    return -sum(int(entry["gpu_seconds"]) for entry in entries if entry["job_id"] == slurm_id)


def words_of(page: str) -> str:
    """What a person would read of a page."""
    visible = re.sub(r"<(script|style|head)\b.*?</\1>", "", page, flags=re.DOTALL)
    lines = html.unescape(re.sub(r"<[^>]*>", "\n", visible)).splitlines()
    return "\n".join(f"    {line.strip()}" for line in lines if line.strip())[:2000]


def keep(file: Path, content: bytes) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)


def wait_until(condition: Callable[[], bool], what: str) -> None:
    deadline, pause = time.monotonic() + PATIENCE, threading.Event()
    while not condition():
        if time.monotonic() > deadline:
            raise Failed(f"Waited {PATIENCE} seconds until {what}, in vain.")
        pause.wait(1)


def tell(text: str) -> None:
    print(f"  {text}", flush=True)


def main(address: str, folder: str) -> int:
    results = Path(folder)
    try:
        outcome = do_main_job(address, results)
    except Failed as failed:
        print(failed, file=sys.stderr)
        return 1
    keep(results / "job.json", json.dumps(asdict(outcome), indent=2).encode())
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
