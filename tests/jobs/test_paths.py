"""Which file names a job may have."""

from __future__ import annotations

import unicodedata

import pytest

from jobs import paths


@pytest.mark.parametrize(
    "name",
    [
        "a.txt",
        "data/train/0001.png",
        "Über größe.csv",
        "数据.csv",
        "x" * 200,
        "/".join(["d"] * 16),
        "stdout.log.txt",
        "stdout-x.log",
        "sub/stdout.log",
        "100%.txt",
        "; rm -rf ~",
        "=HYPERLINK()",
        "<img onerror=alert(1)>",
        "console.txt",
    ],
)
def test_ordinary_names_are_kept(name: str) -> None:
    assert paths.clean(name) == name


def test_names_are_kept_in_one_spelling() -> None:
    assert paths.clean(unicodedata.normalize("NFD", "größe.csv")) == "größe.csv"


@pytest.mark.parametrize(
    ("name", "word"),
    [
        ("", "empty"),
        ("/etc/passwd", "empty"),
        ("a//b", "empty"),
        ("a/", "empty"),
        ("../../etc/passwd", "not names"),
        ("a/./b", "not names"),
        ("C:\\x", "not allowed"),
        ("C:x", "not allowed"),
        ("-rf", "begin with “-”"),
        (".ssh/authorized_keys", "begin with “.”"),
        ("~root/x", "begin with “~”"),
        ("a\0b", "can't be seen"),
        ("a\nb", "can't be seen"),
        ("a\x1b[31m", "can't be seen"),
        ("a\u202etxt.exe", "can't be seen"),
        ("a\u200bb", "can't be seen"),
        ("a\ud800", "can't be seen"),
        ("CON", "device"),
        ("con.txt", "device"),
        ("data/LPT1.csv", "device"),
        ("a ", "blank"),
        (" a", "blank"),
        ("a.", "dot"),
        ("x" * 201, "200 bytes"),
        ("ü" * 101, "200 bytes"),
        ("/".join(["d"] * 17), "15 folders"),
        ("x/" * 1000, "1000 characters"),
        ("stdout.log", "own output"),
        ("StdErr.Log", "own output"),
        ("stdout-12.log", "own output"),
    ],
)
def test_other_names_are_refused_in_words(name: str, word: str) -> None:
    with pytest.raises(paths.BadPath) as refused:
        paths.clean(name)
    assert word in refused.value.sentence
    assert refused.value.sentence.isprintable()


def test_files_that_get_along_are_kept() -> None:
    paths.check_together(["a.txt", "data/a.txt", "data/b.txt", "b/c/d"])


@pytest.mark.parametrize(
    "names",
    [
        ["A.txt", "a.txt"],
        ["a.txt", "a.txt"],
        ["data", "data/a.txt"],
        ["x/Data/a", "x/data"],
        ["STRASSE", "straße"],
    ],
)
def test_files_that_get_in_each_others_way_are_refused(names: list[str]) -> None:
    with pytest.raises(paths.BadPath) as refused:
        paths.check_together(names)
    assert names[0] in refused.value.sentence
