"""Every fixture of the parity folder: the official code's numbers, reproduced within their own tolerances.

The loop knows no folder and no system. An adapter per (system, kind, name) builds ours from the fixture's arguments.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest

from tests.parity import (
    adapt_ganimation,
    adapt_geogan,
    adapt_liquid_warping,
    adapt_liquid_warping_body,
    adapt_liquid_warping_mesh,
    adapt_maskgan,
    adapt_maskgan_masks,
    adapt_stit,
    adapt_stit_procedure,
)
from tests.parity.fixtures import PROJECT, Call, Fixture, call_of, discover, root
from tests.parity.tolerance import complaint, forbidden_match

ADAPTERS: dict[tuple[str, str, str], Callable[[Call], Mapping[str, Any]]] = {
    **adapt_ganimation.ADAPTERS,
    **adapt_geogan.ADAPTERS,
    **adapt_liquid_warping.ADAPTERS,
    **adapt_liquid_warping_body.ADAPTERS,
    **adapt_liquid_warping_mesh.ADAPTERS,
    **adapt_maskgan.ADAPTERS,
    **adapt_maskgan_masks.ADAPTERS,
    **adapt_stit.ADAPTERS,
    **adapt_stit_procedure.ADAPTERS,
}
NOT_BUILT = ("live_portrait",)
"""Expected gaps: systems of the fixtures that have no room under trainers/ yet."""
LAYOUT: Mapping[str, Any] = {"name": "layout", "inputs": {}, "outputs": {}}
"""The one case of a fixture that holds files and no arrays: its adapter compares by itself, gives what is
wrong by name, and raises where there is nothing to compare."""


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    found = discover(root())
    if "fixture" in metafunc.fixturenames:
        metafunc.parametrize("fixture", found, ids=[one.title for one in found])


def test_a_fixture_gives_the_official_numbers(fixture: Fixture) -> None:
    """Same weights and inputs, same results; and none of the well-known wrong ones."""
    if fixture.triple not in ADAPTERS and fixture.triple[0] in NOT_BUILT:
        pytest.xfail(f"{fixture.triple[0]} is not built yet")
    assert fixture.case["format"] == 1
    assert fixture.triple in ADAPTERS, f"no adapter for {fixture.triple}"
    if not fixture.case["cases"]:
        complaints = list(ADAPTERS[fixture.triple](call_of(fixture, LAYOUT)).values())
        assert not complaints, "\n".join(complaints)
        return
    complaints = []
    for case in fixture.case["cases"]:
        results = ADAPTERS[fixture.triple](call_of(fixture, case))
        for name, rules in case["outputs"].items():
            where = f"{case['name']}: {name}"
            if name not in results:
                complaints.append(f"{where}: the adapter gives no such result")
                continue
            complaints += filter(None, [complaint(fixture, where, rules, results[name])])
            complaints += [
                f"{where}: is the wrong {wrong}"
                for wrong in fixture.case["must_not_match"]
                if forbidden_match(fixture, name, rules, results[name], wrong)
            ]
    assert not complaints, "\n".join(complaints)


@pytest.mark.parametrize("system", NOT_BUILT)
def test_a_gap_ends_when_its_system_is_built(system: str) -> None:
    """A system that has its room under trainers/ has to reproduce its fixtures."""
    assert not (PROJECT / "trainers" / system).exists()
