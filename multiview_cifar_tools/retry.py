"""Requests to stores and to the Hub, sent again after errors that may pass.

Where an answer says when to try again, that is obeyed, and said in a line: `Retry-After` in seconds
or as a date (RFC 9110, 10.2.3), or the `RateLimit` of an answer 429, as the Hub sends it.
"""

from __future__ import annotations

import itertools
import logging
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any, NamedTuple, TypeVar

import tenacity

logger = logging.getLogger(__name__)

T = TypeVar("T")
ATTEMPTS = 6
MAX_WAIT = 30.0  # seconds between two attempts where no answer says how long
MAX_ASKED_WAIT = 3600.0  # seconds that a request waits in all where answers say how long
TOO_MANY_REQUESTS = 429
# https://www.ietf.org/archive/id/draft-ietf-httpapi-ratelimit-headers-09.html: "api";r=0;t=55
RATE_LIMIT = re.compile(r";\s*t=(\d+)", re.ASCII)


class Answer(NamedTuple):
    """What the server answered when a request failed.

    Attributes:
        status: Of HTTP.
        headers: By their names in lower case.
    """

    status: int
    headers: Mapping[str, str]


def retry(
    may_pass: Callable[[BaseException], bool],
    call: Callable[..., T],
    *args: Any,
    attempts: int = ATTEMPTS,
    **kwargs: Any,
) -> T:
    """Call, and call again after errors that may pass.

    The waits grow longer and longer, up to MAX_WAIT, unless an answer says how long to wait. Such
    waits are logged, and are not counted as attempts; all waits of a call are MAX_ASKED_WAIT at
    most.

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
    failures = itertools.count(1)
    usual = tenacity.wait_random_exponential(multiplier=0.5, max=MAX_WAIT)

    def wait(state: tenacity.RetryCallState) -> float:
        asked = asked_wait(_error_of(state))
        return usual(state) if asked is None else asked

    def stop(state: tenacity.RetryCallState) -> bool:
        if asked_wait(_error_of(state)) is None:
            return next(failures) >= attempts
        return state.idle_for + state.upcoming_sleep > MAX_ASKED_WAIT

    return tenacity.Retrying(
        retry=tenacity.retry_if_exception(may_pass),
        reraise=True,
        stop=stop,
        wait=wait,
        before_sleep=_log_asked_wait,
    )(call, *args, **kwargs)


def _error_of(state: tenacity.RetryCallState) -> BaseException | None:
    return state.outcome.exception() if state.outcome else None


def _log_asked_wait(state: tenacity.RetryCallState) -> None:
    error = _error_of(state)
    if (answer := answer_of(error)) and asked_wait(error) is not None:
        reason = " (too many requests)" if answer.status == TOO_MANY_REQUESTS else ""
        logger.warning(
            "The server answers %d%s: trying again in %.0f s, as it asks; such waits may take %.0f "
            "minutes in all",
            answer.status,
            reason,
            state.upcoming_sleep,
            MAX_ASKED_WAIT / 60,
        )


def asked_wait(error: BaseException | None) -> float | None:
    """The seconds to wait that the answer behind an error asks for; None where it asks for none.

    An answer 429 that says nothing asks for MAX_WAIT.
    """
    answer = answer_of(error)
    if answer is None:
        return None
    text = answer.headers.get("retry-after", "").strip()
    if text.isascii() and text.isdecimal():
        return float(text)
    if (date := _parse_date(text)) is not None:
        now = _parse_date(answer.headers.get("date", "")) or datetime.now(UTC)  # its clock or ours
        return max(0.0, (date - now) / timedelta(seconds=1))
    if answer.status != TOO_MANY_REQUESTS:
        return None
    limit = RATE_LIMIT.search(answer.headers.get("ratelimit", ""))
    return float(limit[1]) if limit else MAX_WAIT


def _parse_date(text: str) -> datetime | None:
    """A date of HTTP, or None where it is none."""
    try:
        date = parsedate_to_datetime(text)
        return date if date.tzinfo else date.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        return None


def answer_of(error: BaseException | None) -> Answer | None:
    """The answer behind an error, or behind what caused it."""
    while error is not None:
        response = getattr(error, "response", None)
        if isinstance(response, Mapping):  # of botocore
            found = response.get("ResponseMetadata", {})
            status, headers = found.get("HTTPStatusCode"), found.get("HTTPHeaders")
        else:  # of requests and httpx; aiohttp's errors have no response
            status = getattr(response, "status_code", getattr(error, "status", None))
            headers = getattr(response, "headers", getattr(error, "headers", None))
        if isinstance(status, int) and isinstance(headers, Mapping):
            return Answer(status, {str(k).lower(): str(v) for k, v in headers.items()})
        error = error.__cause__
    return None
