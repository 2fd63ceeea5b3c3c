"""A sweep in the browser: filled in from the script, followed task by task, each with its log."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.e2e.eye import Eye
from tests.e2e.people import Person

pytestmark = pytest.mark.e2e

A_SWEEP = 120_000  # ms: what two busy cores may need for it
SCRIPT = """#!/bin/bash
#SBATCH --array=1-22%8
#SBATCH --time=5
echo "step $((FIREFLY_TASK + 1)) of $FIREFLY_TASKS"
[ "$FIREFLY_TASK" != 3 ]
"""


def test_a_sweep_is_submitted_and_followed_task_by_task(
    as_person: Callable[[str], Person], eye_of: Callable[[Person], Eye], tmp_path: Path
) -> None:
    mei = as_person("Mei Lin")
    page = mei.page
    (tmp_path / "sweep.sh").write_text(SCRIPT)
    mei.opens("/jobs/new/")
    page.locator("input[data-input=files]").set_input_files([tmp_path / "sweep.sh"])
    page.get_by_label("Name").fill("Learning rates")
    page.get_by_role("radio", name=re.compile("^a100 ")).check()
    page.get_by_role("spinbutton", name="GPUs").fill("1")

    check = page.get_by_role("region", name="3. Check")
    expect(page.get_by_role("spinbutton", name="tasks")).to_have_value("22")  # the script said so
    expect(page.get_by_role("spinbutton", name="at once")).to_have_value("8")
    expect(check).to_contain_text("22 tasks × 1 GPU × 5 min × factor 1")
    expect(check).to_contain_text("Here they are counted from 0")
    expect(check).not_to_contain_text("not taken")
    eye_of(mei).looks("sweep-submit")
    mei.presses("Submit job")

    tasks = page.get_by_role("region", name="Tasks")
    expect(page.get_by_text("21 done · 1 failed")).to_be_visible(timeout=A_SWEEP)
    mei.reads("1 of 22 tasks failed.")
    expect(tasks.get_by_role("row").nth(4)).to_have_text(re.compile(r"3\s+failed\s+\S+\s+1:0"))
    expect(tasks).to_contain_text("1–20 of 22 tasks")
    tasks.get_by_role("link", name="3", exact=True).click()
    expect(page.get_by_role("heading", name="Log of task 3")).to_be_visible()
    expect(page.locator("#job-log-text")).to_have_text("step 4 of 22\n")
    eye_of(mei).looks("sweep-job")
    tasks.get_by_role("link", name="Next page").click()
    expect(tasks.get_by_role("row")).to_have_count(3)
    expect(page.get_by_role("heading", name="Log of task 3")).to_be_visible()

    mei.follows("Jobs")
    expect(page.get_by_role("row", name="Learning rates")).to_contain_text("× 22")
    eye_of(mei).looks("sweep-list")
