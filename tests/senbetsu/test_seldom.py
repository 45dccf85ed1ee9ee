"""A flood of what others send is one line a second, and the line says how many were left out."""

import logging

import pytest

from senbetsu.seldom import Seldom


def test_a_flood_is_told_at_once_and_then_once_a_second_with_how_many_were_left_out(
    caplog: pytest.LogCaptureFixture,
) -> None:
    now_s = [100.0]
    seldom = Seldom(logging.getLogger("test"), clock_s=lambda: now_s[0])
    for number in range(5):
        seldom.warning("noise", "nonsense %d", number)
    seldom.warning("other", "another kind")
    now_s[0] += 1
    seldom.warning("noise", "nonsense %d", 9)
    now_s[0] += 1
    seldom.warning("noise", "nonsense %d", 10)
    assert [record.getMessage() for record in caplog.records] == [
        "nonsense 0",
        "another kind",
        "nonsense 9 (and 4 more like it before)",
        "nonsense 10",
    ]
