"""What messages offer."""

from __future__ import annotations

import errno

from no_time_to_train.errors import did_you_mean, os_sentence


def test_the_nearest_name_is_offered_and_a_far_one_is_not() -> None:
    assert did_you_mean("lenght", ["length", "depth"]) == "; did you mean 'length'?"
    assert did_you_mean("zzz", ["length", "depth"]) == ""


def test_what_the_system_refused_says_where_and_what_to_do() -> None:
    full = OSError(errno.ENOSPC, "No space left on device", "/data/out.json")
    assert os_sentence(full) == "/data/out.json: No space left on device; make room, and go on with --resume"
    assert os_sentence(OSError("odd")) == "odd"
