"""Retries of HTTP requests that wait as long as the server asks, up to a limit."""

from __future__ import annotations

import time
from typing import Any, Self

from requests.exceptions import RetryError
from urllib3 import BaseHTTPResponse, Retry
from urllib3.exceptions import InvalidHeader

# urllib3 must not cut a wait short that a server asks for: it is obeyed, or it is an error.
_NO_LIMIT = 1 << 62


class Patient(Retry):
    """urllib3's retries, which obey Retry-After (seconds or a date) up to a sum of seconds.

    All retries that were made from one share the seconds that are left. Raises RetryError if a
    server asks for more. A header that is no number and no date is ignored.
    """

    def at_most(self, seconds: float) -> Self:
        """Set the seconds that this one, and all that come of it, may wait; return it."""
        self._left = [seconds]
        return self

    def new(self, **changes: Any) -> Self:
        """Make the retry that follows; it shares the seconds that are left."""
        retry = super().new(**{"retry_after_max": _NO_LIMIT, **changes})
        retry._left = self._left
        return retry

    def sleep_for_retry(self, response: BaseHTTPResponse) -> bool:
        """Wait as the server asks, and return whether it asked. Raises RetryError."""
        try:
            wait = self.get_retry_after(response)
        except (InvalidHeader, ValueError, OverflowError):
            return False
        if not wait:
            return False
        if wait > self._left[0]:
            raise RetryError(
                f"it answers {response.status} and asks to wait {wait:.0f} s, which is too long"
            )
        self._left[0] -= wait
        time.sleep(wait)
        return True
