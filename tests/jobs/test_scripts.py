"""What can be run as a script, and the sentence where it can't."""

from __future__ import annotations

import pytest

from jobs.models import Upload
from jobs.scripts import BadScript, examine, examine_bytes


@pytest.mark.parametrize(
    ("content", "word"),
    [
        (b"", "empty"),
        (b" \n\n", "empty"),
        (b"#!/bin/bash\r\necho\r\n", "Windows"),
        (b"#!/bin/bash\necho a\0b\n", "not a text file"),
        (b"\x7fELF\x02\x01\x01\0\0\0", "not a text file"),
        ("#!/bin/bash\necho".encode("utf-16"), "UTF-16"),
        (b"#!/bin/bash\necho \xff\xfe\n", "not UTF-8"),
        (b"\xef\xbb\xbf#!/bin/bash\n", "BOM"),
    ],
)
def test_what_can_not_be_run_is_refused_in_words(content: bytes, word: str) -> None:
    with pytest.raises(BadScript) as refused:
        examine_bytes(content)
    assert word in refused.value.sentence


def test_five_megabytes_are_no_script() -> None:
    with pytest.raises(BadScript) as refused:
        examine(Upload(size=5 << 20))
    assert "1 MiB" in refused.value.sentence


def test_without_a_first_line_bash_is_used_and_it_says_so() -> None:
    assert "bash" in examine_bytes(b"echo hello\n").notes[0]
    assert examine_bytes(b"#!/usr/bin/env python3\nprint()\n").notes == ()


def test_its_directives_are_read() -> None:
    assert examine_bytes(b"#!/bin/bash\n#SBATCH --gpus=2\nsbatch me\n").directives.gpus == 2
