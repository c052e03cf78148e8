"""What the answers of servers say about when to try again."""

import http.client
from email.utils import formatdate

import aiohttp
import pytest
import requests
from botocore.exceptions import ClientError

from multiview_cifar_tools import retry as module
from multiview_cifar_tools.retry import asked_wait, retry

NOW = 1_800_000_000
DATE = {"Date": formatdate(NOW, usegmt=True)}
AS_HTTP = formatdate(NOW + 90, usegmt=True)
AS_ASCTIME = "Fri Jan 15 08:01:30 2027"
ANSWERS = [
    (503, {"Retry-After": "35"}, 35),
    (503, {"retry-after": " 0 "}, 0),
    (503, {**DATE, "Retry-After": AS_HTTP}, 90),
    (503, {**DATE, "Retry-After": AS_ASCTIME}, 90),
    (503, {**DATE, "Retry-After": formatdate(NOW - 90, usegmt=True)}, 0),
    (503, {"Retry-After": formatdate(0, usegmt=True)}, 0),
    (503, {"Retry-After": "soon"}, None),
    (503, {"Retry-After": "-1"}, None),
    (503, {"Retry-After": "Fri, 99 Jan 2027 99:99:99 GMT"}, None),
    (503, {}, None),
    (503, {"Retry-After": "9" * 400}, float("inf")),
    (429, {"RateLimit": '"api";r=0;t=55', "RateLimit-Policy": '"fixed window";"api";q=500'}, 55),
    (429, {"RateLimit": '"api";r=0;t=55', "Retry-After": "7"}, 7),
    (429, {"RateLimit": "none"}, module.MAX_WAIT),
    (429, {}, module.MAX_WAIT),
]


def of_requests(status, headers):
    response = requests.Response()
    response.status_code = status
    response.headers.update(headers)
    return requests.HTTPError(response=response)


def of_botocore(status, headers):
    lower = {name.lower(): text for name, text in headers.items()}
    found = {"HTTPStatusCode": status, "HTTPHeaders": lower}
    error = OSError("as s3fs raises it")
    error.__cause__ = ClientError({"ResponseMetadata": found}, "PutObject")
    return error


def of_aiohttp(status, headers):
    return aiohttp.ClientResponseError(None, (), status=status, headers=headers)


@pytest.mark.parametrize("library", [of_requests, of_botocore, of_aiohttp])
@pytest.mark.parametrize(("status", "headers", "seconds"), ANSWERS)
def test_how_long_an_answer_asks_to_wait(library, status, headers, seconds):
    assert asked_wait(library(status, headers)) == seconds


@pytest.mark.parametrize("error", [None, OSError(), http.client.IncompleteRead(b"")])
def test_errors_without_an_answer(error):
    assert asked_wait(error) is None


def test_asked_waits_are_no_attempts_and_have_a_limit(monkeypatch, caplog):
    monkeypatch.setattr(module, "MAX_WAIT", 0.001)
    asked = [of_requests(503, {"Retry-After": "0"})] * 9
    errors = [*asked, OSError(), *asked, OSError(), of_requests(503, {"Retry-After": "3601"})]
    calls = iter(errors)

    def fail():
        raise next(calls)

    with pytest.raises(requests.HTTPError) as found:
        retry(lambda error: True, fail, attempts=3)
    assert found.value is errors[-1]
    assert next(calls, None) is None
    assert caplog.text.count("The server answers 503: trying again in 0 s, as it asks") == 18
