"""The one kind of error that a user can mend: printed without a traceback, exit status 2."""

from __future__ import annotations


class RequestError(Exception):
    """A request that cannot be taken. Each line names what is wrong, its value and what is allowed."""

    def __init__(self, *lines: str):
        super().__init__("\n".join(lines))
        self.lines = lines
