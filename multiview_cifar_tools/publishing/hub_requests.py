"""Requests of `huggingface_hub`: sent again while their error may pass, and what errors mean."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import huggingface_hub
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    LocalTokenNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.utils import hf_raise_for_status  # type: ignore[attr-defined]

from multiview_cifar_tools.retry import ATTEMPTS, MAX_ASKED_WAIT, asked_wait, retry

# HTTP statuses of errors that may pass.
RETRY_STATUSES = {408, 425, 429, 500, 502, 503, 504}
CHANGED_STATUSES = {409, 412}  # of a commit onto a branch that moved
AGAIN = "Nothing was published: run the same command again, and only what is missing is sent."

T = TypeVar("T")


def call_hub(call: Callable[..., T], *args: Any, **kwargs: Any) -> T:
    """Call a function of `huggingface_hub`, again while its error may pass; see `retry`."""

    def attempt() -> T:
        with raise_at_once():
            return call(*args, **kwargs)

    return retry(may_pass, attempt)


@contextmanager
def raise_at_once() -> Iterator[None]:
    """In this thread, let each answer that may pass be an error as soon as it comes.

    `huggingface_hub` itself would send many requests again: 0.36 waits as it likes, 2.4 obeys no
    date, and waits without limit.
    """
    session: Any = huggingface_hub.get_session()  # of this thread, or of all threads
    hooks = getattr(session, "event_hooks", None) or session.hooks  # of httpx, or of requests
    thread = threading.get_ident()

    def check(response: Any, *args: Any, **kwargs: Any) -> None:
        if response.status_code in RETRY_STATUSES and threading.get_ident() == thread:
            getattr(response, "read", lambda: response.content)()  # the error shows it
            hf_raise_for_status(response)

    hooks["response"].append(check)
    try:
        yield
    finally:
        hooks["response"].remove(check)


def http_status(error: BaseException | None) -> int:
    """The HTTP status that an error, or what caused it, came with; 0 where there is none."""
    response = getattr(http_error(error), "response", None)
    return 0 if response is None else int(response.status_code)


def http_error(error: BaseException | None) -> HfHubHTTPError | None:
    """The error of an answer that an error is, or came of."""
    while error is not None and not isinstance(error, HfHubHTTPError):
        error = error.__cause__
    return error


def is_network_error(error: BaseException | None) -> bool:
    """Whether an error, or what caused it, is one of HTTP or of the connection."""
    while error is not None:
        # huggingface_hub uses requests before version 1, then httpx, and now httpx2.
        library = type(error).__module__.startswith(("requests", "urllib3", "httpx", "httpcore"))
        if library or isinstance(error, (HfHubHTTPError, ConnectionError, TimeoutError)):
            return True
        error = error.__cause__
    return False


def may_pass(error: BaseException) -> bool:
    """Whether an error may be over the next time."""
    return is_network_error(error) and (http_status(error) or 503) in RETRY_STATUSES


def describe_error(error: Exception, repo_id: str, revision: str, endpoint: str) -> str | None:
    """What an error of a request means, and what to do; None where it is none of a request."""
    status, place = http_status(error), f"{endpoint}/datasets/{repo_id}"
    if isinstance(error, LocalTokenNotFoundError):
        return "There is no token of the Hub. Expected one: run `hf auth login`, or set HF_TOKEN."
    if isinstance(error, GatedRepoError):
        return (
            f"{repo_id} is gated, and the token has no access ({status}). Expected access: ask "
            f"for it at {place}. {AGAIN}"
        )
    if isinstance(error, RepositoryNotFoundError):
        return (
            f"The Hub shows no repository {repo_id} to the token ({status}): it was removed or "
            f"made private, or the token lost its rights. Expected it at {place}. {AGAIN}"
        )
    if isinstance(error, RevisionNotFoundError):
        return (
            f"{repo_id} has no branch {revision!r} ({status}): it was removed. Expected it "
            f"there. {AGAIN}"
        )
    if status == 401:
        return (
            "The Hub does not know the token (401). Expected a valid one with the right to "
            "write: run `hf auth login`, or set HF_TOKEN."
        )
    if status == 403:
        return (
            f"The token has no right to write to {repo_id} (403). Expected the right: "
            "choose a name of your own, or a token that may write there."
        )
    if status in CHANGED_STATUSES:
        return changed_text(repo_id, f" ({status})")
    return _describe_failure(error, status, endpoint) if is_network_error(error) else None


def changed_text(repo_id: str, status: str = "") -> str:
    """What is said of a branch that is no longer at the commit which was read."""
    return (
        f"{repo_id} was changed by somebody else in the meantime{status}. Expected it as it was "
        f"read, so that no change is lost. {AGAIN}"
    )


def _describe_failure(error: Exception, status: int, endpoint: str) -> str:
    wait = asked_wait(error)
    if wait is not None:
        return (
            f"The Hub at {endpoint} answers {status} and asks to wait {wait:.0f} s more. Expected "
            f"waits of at most {MAX_ASKED_WAIT / 60:.0f} minutes in all: try again later. {AGAIN}"
        )
    symptom = f"cannot be reached ({type(error).__name__})"
    if status:
        text = " ".join(str(getattr(http_error(error), "server_message", None) or "").split())
        symptom = f"answers {status}" + (f" ({text[:300]})" if text else "")
    tries = f", after {ATTEMPTS} tries" if may_pass(error) else ""
    return f"The Hub at {endpoint} {symptom}{tries}. Expected an answer. {AGAIN}"
