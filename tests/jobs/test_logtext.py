"""What a program printed, made fit for a page."""

import pytest

from jobs.logtext import clean, whole_characters


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        (b"plain\ttext\n", "plain\ttext\n"),
        (b"\x1b[1;31mred\x1b[0m\n", "red\n"),
        (b"\x1b]0;a window's title\x07after", "after"),
        (b"10%\r50%\r100%\n", "100%\n"),
        (b"dos line\r\n", "dos line\n"),
        (b"a\x00b\x08c", "abc"),
        ("evil \u202etxt.exe".encode(), "evil txt.exe"),
        (b"caf\xe9", "caf\ufffd"),
        ("训练完成\n".encode(), "训练完成\n"),
        (b"<img src=x onerror=alert(1)>", "<img src=x onerror=alert(1)>"),  # the template escapes it
    ],
)
def test_it_is_fit_for_a_page(raw: bytes, shown: str) -> None:
    assert clean(raw) == shown


@pytest.mark.parametrize("cut", range(1, len("训练 ok é 🙂".encode()) + 1))
def test_a_character_that_is_cut_comes_with_the_next_piece(cut: int) -> None:
    data = "训练 ok é 🙂".encode()
    first = whole_characters(data[:cut])
    assert "\ufffd" not in clean(first)
    assert clean(first) + clean(data[len(first) :]) == "训练 ok é 🙂"
    assert len(data[:cut]) - len(first) < 4
