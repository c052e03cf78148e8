"""Requests to stores and to the Hub, sent again after errors that may pass."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import tenacity

T = TypeVar("T")
ATTEMPTS = 6
MAX_WAIT = 30.0  # seconds between two attempts


def retry(
    may_pass: Callable[[BaseException], bool],
    call: Callable[..., T],
    *args: Any,
    attempts: int = ATTEMPTS,
    **kwargs: Any,
) -> T:
    """Call, and call again after errors that may pass, with longer and longer waits between.

    Args:
        may_pass: Whether an error may be gone the next time.
        call: The request.
        *args: Of the call.
        attempts: The most calls.
        **kwargs: Of the call.

    Returns:
        What the call returns.

    Raises:
        Exception: The last error of the call, or the first one that does not pass.
    """
    return tenacity.Retrying(
        retry=tenacity.retry_if_exception(may_pass),
        reraise=True,
        stop=tenacity.stop_after_attempt(attempts),
        wait=tenacity.wait_random_exponential(multiplier=0.5, max=MAX_WAIT),
    )(call, *args, **kwargs)
