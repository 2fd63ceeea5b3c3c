"""The portal's main job, as the people do it who it is for: ask, decide, submit, follow, fetch, account, report."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Locator, expect

from tests.cluster.one_machine import CHECKOUT, SlurmCluster
from tests.e2e.people import Person

pytestmark = pytest.mark.e2e

HOURS = re.compile("GPU-hours on a100(?!-)")  # not of the partition a100-preemptible

SAMPLE = CHECKOUT / "docker" / "demo" / "sample"
PROJECT = "Reading handwritten archives"
PROJECT_PAGE = "/projects/northlake-1/"
JUSTIFICATION = "Forty runs of 8 GPUs for 10 hours, and as much again for the ablations."
JOB_NAME = "Digits, small network"
FOR_A_SCHEDULER = ("#SBATCH --time=00:10:00", "#SBATCH --account=somebody-else", "#SBATCH --mail-type=ALL")
GPUS = 2
EPOCHS = 120  # several seconds: the log is seen growing
A_JOB = 120_000  # ms: what two busy cores may need for one
COLOURS = """canvas => {
  const pixels = new Uint32Array(canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data.buffer);
  const count = new Map();
  for (const pixel of pixels) if (pixel >>> 24 === 255) count.set(pixel, (count.get(pixel) ?? 0) + 1);
  return [...count.values()].filter((size) => size > pixels.length / 200).length;
}"""  # how many there are of which much is seen


@dataclass(frozen=True)
class EndedJob:
    name: str
    path: str  # of its page
    slurm_id: str
    gpu_seconds: int  # that it held, as sacct says
    files: Mapping[str, str]  # where each result lies, by its name


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    """The demo's sample with a smaller network, and with lines for a scheduler in its script, as people have them."""
    script, data = tmp_path / "train.py", tmp_path / "params.json"
    first, rest = (SAMPLE / "train.py").read_text().split("\n", 1)
    script.write_text("\n".join([first, *FOR_A_SCHEDULER, rest]))
    params = json.loads((SAMPLE / "params.json").read_text())
    data.write_text(json.dumps(params | {"epochs": EPOCHS, "hidden_layers": [256]}))
    return [script, data]


def test_the_main_job(
    as_person: Callable[[str], Person], slurm_cluster: SlurmCluster, files: list[Path], tmp_path: Path
) -> None:
    ivo, sam, mei, fay = map(as_person, ("Ivo Brandt", "Sam Fischer", "Mei Lin", "Fay Winter"))
    reported = seconds_in_the_report(fay, tmp_path)

    asks_for_hours(ivo)
    grants_a_part(sam)
    sees_what_was_granted(ivo)

    submits(mei, files)
    job = follows_to_the_end(mei, slurm_cluster)
    fetches_results(mei, job, tmp_path)
    reads_the_charge(mei, job)

    sees_job_and_files(ivo, job)
    sees_nothing(as_person("Otto Weiss"), job)
    sees_no_content(as_person("Ada Moreau"), job)

    reads_the_report(fay)
    assert seconds_in_the_report(fay, tmp_path) == reported + job.gpu_seconds
    sees_no_person_and_no_job(fay, job)


def test_its_owner_cancels_a_job(as_person: Callable[[str], Person], tmp_path: Path) -> None:
    mei = as_person("Mei Lin")
    script = tmp_path / "wait.sh"
    script.write_text("#!/bin/bash\necho waiting\nsleep 300\n")
    mei.opens("/jobs/new/")
    fills_in(mei, [script], name="Too long", gpus=1)
    mei.page.get_by_label("minutes").fill("10")
    mei.presses("Submit job")
    expect(state(mei)).to_have_text("running", timeout=A_JOB)

    mei.presses("Cancel job")
    mei.page.get_by_role("dialog").get_by_role("button", name="Cancel job").click()

    expect(state(mei)).to_have_text("cancelled", timeout=A_JOB)
    expect(mei.page.get_by_role("button", name="Cancel job")).to_have_count(0)


# ── PI and staff: hours asked for, granted ───────────────────────────────────


def asks_for_hours(ivo: Person) -> None:
    ivo.opens(PROJECT_PAGE)
    ivo.follows("Ask for GPU-hours")
    page = ivo.page
    hours, until = page.get_by_label(HOURS), page.get_by_label("Until")
    reason = page.get_by_label("What the hours are for")
    last_day = (datetime.now(UTC) + timedelta(days=120)).date().isoformat()
    hours.fill("lots")
    until.fill(last_day)
    reason.fill(JUSTIFICATION)
    ivo.presses("Send to the centre")

    expect(field(hours)).to_contain_text("Type the hours in digits")
    expect(hours).to_have_value("lots")
    expect(until).to_have_value(last_day)
    expect(reason).to_have_value(JUSTIFICATION)

    hours.fill("6400")
    ivo.presses("Send to the centre")
    ivo.reads("The request is with the centre")


def grants_a_part(sam: Person) -> None:
    sam.follows("Requests")
    sam.page.get_by_role("row", name=PROJECT).get_by_role("link").click()
    sam.reads(JUSTIFICATION)
    sam.page.get_by_label("GPU-hours to grant").fill("4000")
    sam.page.get_by_label("Comment to the lab").fill("The ablations can wait for the next call.")
    sam.presses("Approve 4 000 of 6 400 GPU-hours")
    sam.reads("4 000 GPU-hours are granted")


def sees_what_was_granted(ivo: Person) -> None:
    ivo.follows("Requests")
    newest = ivo.page.get_by_role("row", name=PROJECT).first
    expect(newest.get_by_role("cell")).to_contain_text(["approved", "6 400.00", "4 000.00"])
    newest.get_by_role("link").click()
    ivo.reads("The ablations can wait for the next call.")
    ivo.opens(PROJECT_PAGE)
    ivo.reads("of 4 000 GPU-h")


# ── The member: a job submitted, followed, its results fetched ───────────────


def submits(mei: Person, files: list[Path]) -> None:
    """Once with a mistake, which loses nothing."""
    mei.follows("Jobs")
    mei.follows("Submit job")
    page = mei.page
    check = page.get_by_role("region", name="3. Check")
    fills_in(mei, files, name=JOB_NAME, gpus=0)
    expect(page.get_by_label("minutes")).to_have_value("10")  # the script said so
    for line in FOR_A_SCHEDULER[1:]:
        expect(check).to_contain_text(line)

    mei.presses("Submit job")
    mei.reads("Nothing was sent yet")
    expect(field(gpus(mei))).to_contain_text("At least 1")
    expect(page.get_by_label("Name")).to_have_value(JOB_NAME)
    expect(page.get_by_label("minutes")).to_have_value("10")
    expect(page.locator("[data-file]")).to_have_text([re.compile(re.escape(file.name)) for file in files])

    gpus(mei).fill(str(GPUS))
    expect(check).to_contain_text("0.33 GPU-h")
    expect(check).to_contain_text(f"{GPUS} GPUs × 10 min × factor 1")
    before, after = (seconds_of(figure) for figure in check.locator(".before-after .num").all())
    assert after == before - GPUS * 10 * 60
    mei.presses("Submit job")
    mei.reads("Your job is submitted")


def fills_in(mei: Person, files: list[Path], *, name: str, gpus: int) -> None:
    page = mei.page
    page.locator("input[data-input=files]").set_input_files(files)
    expect(page.locator("[data-file][data-id]")).to_have_count(len(files))
    page.get_by_label("Name").fill(name)
    page.get_by_role("radio", name=re.compile("^a100 ")).check()
    page.get_by_role("spinbutton", name="GPUs").fill(str(gpus))


def follows_to_the_end(mei: Person, slurm: SlurmCluster) -> EndedJob:
    """Without a reload: the page brings the news and the log by itself."""
    page = mei.page
    page.evaluate("window.isStillTheSame = true")
    log = page.locator("#job-log-text")
    expect(state(mei)).to_have_text("running", timeout=A_JOB)
    expect(log).to_contain_text("epoch   1/", timeout=A_JOB)
    first_look = log.inner_text()
    expect(state(mei)).to_have_text("succeeded", timeout=A_JOB)
    expect(log).to_contain_text("Best was epoch", timeout=A_JOB)
    assert len(log.inner_text()) > len(first_look) and "Best was epoch" not in first_look
    expect(page.get_by_role("list", name="The job's life")).to_have_text(
        re.compile("submitted.*waited.*ran.*succeeded", re.DOTALL)
    )
    results = page.get_by_role("region", name="Results").locator("li a")
    expect(results.filter(has_text="metrics.json")).to_be_visible()
    assert page.evaluate("window.isStillTheSame === true")
    files = {one.inner_text(): one.get_attribute("href") or "" for one in results.all()}
    [slurm_id] = page.locator(".facts div").filter(has_text="Slurm").locator("dd").all_inner_texts()
    return EndedJob(JOB_NAME, urlsplit(page.url).path, slurm_id, slurm.held_by(slurm_id), files)


def fetches_results(mei: Person, job: EndedJob, folder: Path) -> None:
    with mei.page.expect_download() as begun:
        mei.follows("metrics.json")
    begun.value.save_as(folder / "metrics.json")
    metrics = json.loads((folder / "metrics.json").read_text())
    assert len(metrics["epochs"]) == EPOCHS
    assert metrics["test_accuracy"] > 0.5

    picture = mei.page.get_by_role("img", name="Picture curve.png")
    mei.page.get_by_role("region", name="Results").locator("> :last-child").scroll_into_view_if_needed()
    picture.scroll_into_view_if_needed()
    expect(picture).to_have_js_property("complete", True)
    assert picture.evaluate("img => img.naturalWidth") > 600


def reads_the_charge(mei: Person, job: EndedJob) -> None:
    """On the job's page and on the statement, to the second what sacct says."""
    assert job.gpu_seconds > 0
    cost = mei.page.get_by_role("region", name="Cost").locator(".facts div")
    assert seconds_of(cost.filter(has_text="Charged").locator(".num")) == job.gpu_seconds

    mei.opens(PROJECT_PAGE)
    mei.page.get_by_role("region", name="GPU-hours on Firefly").filter(has_text="of 4 000 GPU-h").get_by_role(
        "link", name="Statement"
    ).click()
    line = mei.page.get_by_role("row", name=f"Charge, job {job.slurm_id}")
    assert seconds_of(line.get_by_role("cell").nth(2).locator(".num").first) == -job.gpu_seconds


# ── Who else sees what ───────────────────────────────────────────────────────


def sees_job_and_files(ivo: Person, job: EndedJob) -> None:
    ivo.opens("/jobs/")
    ivo.follows(job.name)
    expect(ivo.page.locator("#job-log-text")).to_contain_text("Best was epoch")
    with ivo.page.expect_download() as begun:
        ivo.follows("metrics.json")
    assert begun.value.path().stat().st_size > 0


def sees_nothing(stranger: Person, job: EndedJob) -> None:
    """Every address of the job answers as one that leads nowhere, to the byte."""
    nowhere = stranger.finds("/jobs/987654321/")
    for path in (job.path, *parts_of(job)):
        assert stranger.finds(path) == nowhere, path
    stranger.opens("/jobs/")
    expect(stranger.page.get_by_text(job.name)).to_have_count(0)


def sees_no_content(admin: Person, job: EndedJob) -> None:
    assert admin.opens(job.path) == 200
    admin.reads("Its log and files are private")
    expect(admin.page.get_by_text("metrics.json")).to_have_count(0)
    for path in (f"{job.path}log/stdout/", *job.files.values()):
        assert admin.finds(path)[0] == 403, path


def parts_of(job: EndedJob) -> list[str]:
    return [*(job.path + part for part in ("news/", "side/", "log/stdout/")), *job.files.values()]


# ── The funder ───────────────────────────────────────────────────────────────


def seconds_in_the_report(fay: Person, folder: Path) -> int:
    """Northlake's GPU-seconds of this month, from the CSV."""
    fay.opens("/reports/")
    with fay.page.expect_download() as begun:
        fay.follows("Download CSV")
    begun.value.save_as(folder / "report.csv")
    with (folder / "report.csv").open(newline="") as lines:
        rows = list(csv.DictReader(lines))
    this_month = f"{datetime.now(UTC):%Y-%m}"
    [row] = [
        row for row in rows if (row["institution"], row["month"]) == ("Northlake University", this_month)
    ]
    return int(row["gpu_seconds"])


def reads_the_report(fay: Person) -> None:
    fay.follows("Reports")
    page = fay.page
    drawing = page.get_by_role("region", name="By month").locator("canvas")
    expect(drawing).to_be_visible()
    assert drawing.evaluate(COLOURS) >= 3, "three institutions, three colours"
    table = page.get_by_role("region", name="By institution and month")
    for institution in ("Northlake University", "Rivergate Institute of Technology", "Hillview Academy"):
        expect(table.get_by_role("row", name=institution)).to_be_visible()


def sees_no_person_and_no_job(fay: Person, job: EndedJob) -> None:
    for path in (job.path, *parts_of(job), "/people/", PROJECT_PAGE):
        assert fay.finds(path)[0] in {403, 404}, path
    words = {job.name, *(word for person in fay.others() for word in (person, fay.site.emails[person]))}
    seen = {path: fay.page.content().lower() for path in fay.walks()}
    assert "/reports/" in seen
    for path, html in seen.items():
        assert not [word for word in words if word.lower() in html], path


# ── How the pages are made ───────────────────────────────────────────────────


def field(control: Locator) -> Locator:
    """A form's field around its control: label, hint and error."""
    return control.locator("xpath=ancestor::*[contains(concat(' ', @class, ' '), ' field ')][1]")


def gpus(person: Person) -> Locator:
    return person.page.get_by_role("spinbutton", name="GPUs")


def state(person: Person) -> Locator:
    """The job's state, as its page shows it."""
    return person.page.locator("#news .state").first


def seconds_of(figure: Locator) -> int:
    """The GPU-seconds that a figure in hours shows on hover; a minus in front of the figure counts."""
    title = figure.get_attribute("title") or ""
    return int(re.sub(r"[^0-9\-]", "", title.replace("\u2212", "-").removesuffix(" GPU-seconds")))
