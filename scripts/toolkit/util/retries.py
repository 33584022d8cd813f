"""Waiting as a server asks, and no longer than is good."""

from __future__ import annotations

import time
from typing import Any, Self

from requests.exceptions import RetryError
from urllib3 import BaseHTTPResponse, Retry
from urllib3.exceptions import InvalidHeader

# No wait that a server asks for is cut short: it is obeyed, or it is an error.
_LONGEST_TOLD = 1 << 62


class Patient(Retry):
    """urllib3's retries, which obey Retry-After (seconds or a date) up to a sum of seconds.

    All retries that were made from one share what is left. Raises RetryError if a server asks
    for more. What is no number and no date counts as not asked.
    """

    def at_most(self, seconds: float) -> Self:
        """Give this one, and all that come of it, the seconds to wait."""
        self._left = [seconds]
        return self

    def new(self, **changes: Any) -> Self:
        """Make the retry that follows; it shares what is left."""
        made = super().new(**{"retry_after_max": _LONGEST_TOLD, **changes})
        made._left = self._left
        return made

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
