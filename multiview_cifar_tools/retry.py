"""Requests to stores and to the Hub, sent again where the trouble may pass."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import tenacity

T = TypeVar("T")
ATTEMPTS = 6
LONGEST_WAIT = 30.0  # seconds between two of them


def retried(
    may_pass: Callable[[BaseException], bool],
    call: Callable[..., T],
    *args: Any,
    attempts: int = ATTEMPTS,
    **kwargs: Any,
) -> T:
    """What the call returns, called again after errors that `may_pass`, longer and longer after.

    Args:
        may_pass: Says of an error whether it may be gone the next time.
        call: The request.
        *args: Of the call.
        attempts: How often it is called at most.
        **kwargs: Of the call.

    Raises:
        Exception: The last error of the call, or the first one that does not pass.
    """
    return tenacity.Retrying(
        retry=tenacity.retry_if_exception(may_pass),
        reraise=True,
        stop=tenacity.stop_after_attempt(attempts),
        wait=tenacity.wait_random_exponential(multiplier=0.5, max=LONGEST_WAIT),
    )(call, *args, **kwargs)
