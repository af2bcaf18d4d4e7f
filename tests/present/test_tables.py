"""What is printed, at the widths that terminals have."""

import io
import re

import pytest
from rich.console import Console

from pmnbmix.present import tables


def printed(choice, width):
    stream = io.StringIO()
    console = Console(file=stream, width=width)
    tables.print_choice(console, choice)
    return stream.getvalue()


@pytest.mark.parametrize("width", [80, 100, 140])
def test_no_name_and_no_number_is_cut(crab_choice, width):
    text = printed(crab_choice, width)
    assert "…" not in text
    for word in ("weights[0]", "dispersions[1]", "verdict", "plausible", "97.5 %"):
        assert word in text
    assert max(len(line) for line in text.splitlines()) <= width
    # mean and sd make room for median and interval
    assert ("NUTS mean" in text) == (width >= 100)


def test_every_doubt_is_told_once(crab_choice):
    text = " ".join(printed(crab_choice, 140).split())
    assert text.count("another optimum lies within") == 1
    assert "EM and MAP, every parameter: another optimum lies within" in text
    # of the first component's dispersion surely, and of its mean in most runs
    assert re.search(r"NUTS, (means\[0\], )?dispersions\[0\]: heavy tail", text)
