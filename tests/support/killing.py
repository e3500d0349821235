"""The end of a simulated process."""

from __future__ import annotations


class Killed(BaseException):
    """The process ends here. No handler of the product catches this, as after ``kill -9``."""
