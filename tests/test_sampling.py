"""What a sample of the tests holds: each case, and each route."""

import itertools
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import pytest

import sampling

ROUTES = ["import-built", "script-built", "import-streamed", "script-streamed"]


def item_of(function, marker, **parameters):
    marks = [pytest.mark.parametrize(name, [value]).mark for name, value in parameters.items()]
    return SimpleNamespace(
        path=Path("test_it.py"),
        originalname=function,
        get_closest_marker=lambda name: marker if marker and marker.name == name else None,
        iter_markers=lambda name: marks,
        callspec=SimpleNamespace(params=parameters),
    )


def items_of(function, routes, cases, marker=None):
    """As pytest collects a function that takes a route, and has so many cases unless None."""
    return [
        item_of(function, marker, load=routes[i], **({} if cases is None else {"case": case}))
        for case, i in itertools.product(range(cases or 1), range(len(routes)))
    ]


def kept_of(tests):
    dropped = {id(test) for test in sampling.repeated_routes(tests, ROUTES)}
    return [test.callspec for test in tests if id(test) not in dropped]


@pytest.mark.parametrize("routes", [ROUTES, ROUTES[:2], ROUTES[:1]], ids=len)
@pytest.mark.parametrize("cases", [1, 2, 3, 4, 5, 9])
def test_each_case_and_each_route_stays(cases, routes):
    kept = kept_of(items_of("test_a", routes, cases))
    assert {call.params["case"] for call in kept} == {*range(cases)}
    assert {call.params["load"] for call in kept} == {*routes}
    assert len(kept) == max(cases, len(routes))


def test_functions_without_cases_take_the_routes_in_turn():
    tests = [test for name in "abcdef" for test in items_of(name, ROUTES, None)]
    kept = kept_of(tests)
    assert len(kept) == 6
    assert {call.params["load"] for call in kept} == {*ROUTES}


def test_every_route_of_a_test_that_is_marked_so():
    tests = items_of("test_a", ROUTES, 5, pytest.mark.every_route.mark)
    assert len(kept_of(tests)) == len(tests)


@pytest.mark.parametrize("counts", [(5,), (2, 3), (12, 10), (4, 4, 4), (1, 7, 2)], ids=str)
@pytest.mark.parametrize("times", [1, 2])
def test_each_value_stays(counts, times):
    marker = pytest.mark.each_value(times=times).mark
    tests = [
        item_of("test_a", marker, **{f"p{axis}": value for axis, value in enumerate(values)})
        for values in itertools.product(*map(range, counts))
    ]
    dropped = {id(test) for test in sampling.repeated_values(tests)}
    kept = [test.callspec.params for test in tests if id(test) not in dropped]
    for axis, count in enumerate(counts):
        seen = Counter(values[f"p{axis}"] for values in kept)
        assert len(seen) == count
        assert min(seen.values()) >= min(times, len(tests) // count)
    assert len(kept) <= times * (max(counts) + 2)


def test_a_sample_is_the_same_each_time_and_in_order():
    assert sampling.sampled(range(5), 9) == [0, 1, 2, 3, 4]
    few = sampling.sampled(range(100), 9)
    assert few == sampling.sampled(range(100), 9) == sorted(few)
    assert len({*few}) == (100 if sampling.EXHAUSTIVE else 9)


@pytest.mark.each_value
@pytest.mark.parametrize("first", "abcd")
@pytest.mark.parametrize("second", "abc")
def test_cases_as_pytest_collects_them(first, second, request):
    items = request.session.items
    cases = [item for item in items if item.originalname == request.node.originalname]
    assert len(cases) == (12 if sampling.EXHAUSTIVE else 4)
