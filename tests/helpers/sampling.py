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
    keeps all routes.
    """
    groups = defaultdict(list)
    for item in items:
        parameters = item.callspec.params if hasattr(item, "callspec") else {}
        name = next((n for n, v in parameters.items() if isinstance(v, str) and v in routes), None)
        if name and not item.get_closest_marker("every_route"):
            case = tuple(i for other, i in item.callspec.indices.items() if other != name)
            group = item.path, name, item.originalname if case else None
            groups[group].append((item, parameters[name], (item.originalname, case)))
    return [item for group in groups.values() for item in _out_of_turn(group)]


def _out_of_turn(group):
    """Of tests as (item, route, case) those whose case has its turn on another route."""
    routes = [*dict.fromkeys(route for _, route, _ in group)]
    cases = [*dict.fromkeys(case for _, _, case in group)]
    random.Random(0).shuffle(cases)  # else a parameter of two values would always meet one route
    step = min(len(cases), len(routes))
    return [item for item, route, case in group if (cases.index(case) - routes.index(route)) % step]


def all_but_a_few(items, n):
    """The tests less n of each module, each of another function; the serial ones are among them."""
    modules = defaultdict(dict)
    for item in items:
        if not item.get_closest_marker("serial"):
            modules[item.path].setdefault(item.originalname, item)
    few = [item for tests in modules.values() for item in _sample([*tests.values()], n)]
    return without(items, few)
