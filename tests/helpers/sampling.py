"""What `nox -s exhaustive` runs whole, and the other sessions as samples with a fixed seed."""

from __future__ import annotations

import os
import random
from collections import defaultdict

from hypothesis import HealthCheck, settings

EXHAUSTIVE = "EXHAUSTIVE" in os.environ
SMOKE = "SMOKE" in os.environ
# A fixture stands for all examples of a test: tests that write give each example a new name.
COMMON = settings(deadline=None, database=None, suppress_health_check=list(HealthCheck))


def sampled(cases, n):
    """All cases, or n of them, always the same ones, in their order."""
    return list(cases) if EXHAUSTIVE else _sample(list(cases), n)


def _sample(cases, n):
    places = random.Random(0).sample(range(len(cases)), min(n, len(cases)))
    return [cases[i] for i in sorted(places)]


def examples(n, exhaustive=None):
    """Settings of Hypothesis: n examples, the same ones each time, or more."""
    if EXHAUSTIVE:
        return settings(COMMON, max_examples=exhaustive or 10 * n)
    return settings(COMMON, max_examples=n, derandomize=True)


def without(items, dropped):
    dropped = {*dropped}
    return [item for item in items if item not in dropped]


def repeated_routes(items, routes):
    """The tests that repeat a case on another route.

    The cases of a test take the routes in turn, so that each case has a route and each route a
    case; so do the tests of a module that have no cases of their own. One marked `every_route`
    keeps all routes, and one marked `each_value` those of its own sample.
    """
    groups = defaultdict(list)
    for item in items:
        parameters = item.callspec.params if hasattr(item, "callspec") else {}
        name = next((n for n, v in parameters.items() if isinstance(v, str) and v in routes), None)
        own = item.get_closest_marker("every_route") or item.get_closest_marker("each_value")
        if name and not own:
            case = tuple(value for value in values_of(item) if name not in value[0])
            group = item.path, name, item.originalname if case else None
            groups[group].append((item, parameters[name], (item.originalname, case)))
    return [item for group in groups.values() for item in _out_of_turn(group)]


def values_of(item):
    """Which value each `parametrize` and each fixture gives a test: pairs of names and identities.

    pytest's own indices do not tell: those of `parametrize` count the tests.
    """
    parameters = {**item.callspec.params}
    names = [mark.args[0] for mark in item.iter_markers("parametrize")]
    together = [name if isinstance(name, tuple) else (name,) for name in names]
    together += [(name,) for name in parameters if name not in sum(together, ())]
    return [(names, tuple(id(parameters[name]) for name in names)) for names in together]


def _out_of_turn(group):
    """Of tests as (item, route, case) those whose case has its turn on another route."""
    routes = [*dict.fromkeys(route for _, route, _ in group)]
    cases = [*dict.fromkeys(case for _, _, case in group)]
    random.Random(0).shuffle(cases)  # else a parameter of two values would always meet one route
    step = min(len(cases), len(routes))
    return [item for item, route, case in group if (cases.index(case) - routes.index(route)) % step]


def repeated_values(items):
    """Of the tests marked `each_value` what a sample spares that has each value of each parameter.

    Greedy: the next one of the sample is the case with the most values that are not yet in it.
    With `each_value(times=2)` there are two such samples.
    """
    groups = defaultdict(list)
    for item in items:
        if marker := item.get_closest_marker("each_value"):
            times = marker.kwargs.get("times", 1)
            groups[item.path, item.originalname, times].append((item, {*values_of(item)}))
    dropped = []
    for (_, _, times), group in groups.items():
        random.Random(0).shuffle(group)
        for _ in range(times):
            missing = set().union(*(values for _, values in group))
            while missing:
                best = max(group, key=lambda case: len(missing & case[1]))
                group.remove(best)
                missing -= best[1]
        dropped += [item for item, _ in group]
    return dropped


def all_but_a_few(items, n):
    """The tests less n of each module, each of another function; the serial ones are among them."""
    modules = defaultdict(dict)
    for item in items:
        if not item.get_closest_marker("serial"):
            modules[item.path].setdefault(item.originalname, item)
    few = [item for tests in modules.values() for item in _sample([*tests.values()], n)]
    return without(items, few)
