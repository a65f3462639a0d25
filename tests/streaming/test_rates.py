"""How often one may ask."""

from __future__ import annotations

import pytest

from engine.errors import ConfigError
from streaming.rates import Allowances, Proxies, Rate, Rates, rates_of


def test_rates_are_read_from_words() -> None:
    """Those that are not named stay as they are; what cannot be meant is refused with what is expected."""
    found = rates_of(["offers=6", "uploads=0.5:3"])
    assert (found.offers, found.uploads, found.posts) == (Rate(6, 6), Rate(0.5, 3), Rates().posts)
    for wrong in (
        "offer=3", "offers", "offers=", "offers=x", "offers=1:", "offers=0", "offers=-1", "offers=nan", "offers=1:0",
        "offers=inf", "offers=1e9",
    ):  # fmt: skip
        with pytest.raises(ConfigError, match="rate"):
            rates_of([wrong])


def test_one_address_and_one_token_and_all_are_counted() -> None:
    """Whichever is used up first says how long to wait, and what was refused costs none of the others anything."""
    now = 0.0
    rates = Rates(offers=Rate(10, 2), token=Rate(10, 3), everyone=Rate(60, 5))
    counted = Allowances(rates, clock=lambda: now)
    assert [counted.take("offers", "10.0.0.1", None) for _ in range(2)] == [0, 0]
    assert counted.take("offers", "10.0.0.1", None) == pytest.approx(6.0)
    assert [counted.take("offers", f"10.0.0.{n}", "t") for n in (2, 3, 4)] == [0, 0, 0]
    assert counted.take("posts", "10.0.0.5", "t") == pytest.approx(6.0)
    assert counted.take("offers", "10.0.0.6", None) == pytest.approx(1.0)
    assert counted.take("changes", "10.0.0.6", None) == 0.0
    now += 1.0
    assert counted.take("offers", "10.0.0.6", None) == 0.0
    now += 5.0
    assert counted.take("offers", "10.0.0.1", None) == 0.0


def test_only_a_proxy_of_ours_says_who_asks() -> None:
    """And of what it says only what it added itself: the left of the list is the client's to write."""
    proxies = Proxies(["10.0.0.0/8", "::1"])
    assert proxies.origin("192.0.2.1", ["198.51.100.7"]) == "192.0.2.1"
    assert proxies.origin("10.0.0.1", ["6.6.6.6, 198.51.100.7"]) == "198.51.100.7"
    assert proxies.origin("::ffff:10.0.0.1", ["198.51.100.7, 10.2.3.4"]) == "198.51.100.7"
    assert proxies.origin("::1", ["6.6.6.6", "2001:db8::1"]) == "2001:db8::1"
    assert proxies.origin("10.0.0.1", []) == "10.0.0.1"
    assert proxies.origin("10.0.0.1", ["198.51.100.7, nonsense"]) == "10.0.0.1"
    assert proxies.origin("10.0.0.1", ["10.0.0.2"]) == "10.0.0.2"
    assert not proxies.trusts(None)
    assert Proxies([]).origin("10.0.0.1", ["198.51.100.7"]) == "10.0.0.1"
    for wrong in ("proxy.example", "10.0.0.1/8", ""):
        with pytest.raises(ConfigError, match="proxy"):
            Proxies([wrong])
