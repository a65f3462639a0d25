"""How often one may ask: by address, by token, and all together."""

from __future__ import annotations

import ipaddress
import math
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, fields
from typing import Final

from engine.config import known
from engine.errors import ConfigError

_MOST_PER_MINUTE: Final = 1e6
_MOST_FORWARDED: Final = 16  # proxies in a row


@dataclass(frozen=True, slots=True)
class Rate:
    """per_minute: what comes back in a minute. burst: what may come at once."""

    per_minute: float
    burst: int

    def __post_init__(self) -> None:
        if not (0 < self.per_minute <= _MOST_PER_MINUTE and 1 <= self.burst <= _MOST_PER_MINUTE):
            raise ConfigError(
                f"rate: got {self.per_minute:g} a minute and {self.burst} at once, expected 1 .. {_MOST_PER_MINUTE:g}"
            )


@dataclass(frozen=True, slots=True)
class Rates:
    """Of one address: offers of calls, uploads, other posts, changes of what is there (PATCH and PUT), and wrong
    tokens. token: offers, uploads and posts with one signed token, from wherever. everyone: the same of all."""

    offers: Rate = field(default_factory=lambda: Rate(10, 20))
    uploads: Rate = field(default_factory=lambda: Rate(20, 20))
    posts: Rate = field(default_factory=lambda: Rate(60, 60))
    changes: Rate = field(default_factory=lambda: Rate(1200, 300))
    wrong: Rate = field(default_factory=lambda: Rate(60, 20))
    token: Rate = field(default_factory=lambda: Rate(60, 60))
    everyone: Rate = field(default_factory=lambda: Rate(600, 300))


KINDS: Final = ("offers", "uploads", "posts", "changes")
"""Those that a route may ask for."""


def rates_of(given: Iterable[str]) -> Rates:
    """From words as NAME=PER_MINUTE or NAME=PER_MINUTE:BURST, the others as they are. Raises ConfigError."""
    found: dict[str, Rate] = {}
    for text in given:
        name, equals, value = text.partition("=")
        known(name, [one.name for one in fields(Rates)], "rate")
        per_minute, colon, burst = value.partition(":")
        try:
            rate = float(per_minute)
            found[name] = Rate(rate, int(burst) if colon else max(1, math.ceil(rate)))
        except (ValueError, OverflowError) as error:
            raise ConfigError(
                f"rate: got {text!r}, expected NAME=PER_MINUTE or NAME=PER_MINUTE:BURST"
            ) from error
        if not equals:
            raise ConfigError(f"rate: got {text!r}, expected NAME=PER_MINUTE or NAME=PER_MINUTE:BURST")
    return Rates(**found)


class Allowance:
    """Tries per address: `burst` at once, then one every `every_s` seconds. Not for several threads.

    At most `most` addresses are remembered; an IPv6 network of 64 bits counts as one.
    """

    def __init__(
        self, burst: int, every_s: float, most: int = 1024, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._burst, self._every_s, self._most, self._clock = burst, every_s, most, clock
        self._full_at: OrderedDict[str, float] = OrderedDict()

    def wait_s(self, address: str | None) -> float:
        """Seconds until the next try may come; 0 where it may now."""
        ahead_s = self._full_at.get(_network(address), 0.0) - self._clock()
        return max(0.0, ahead_s - (self._burst - 1) * self._every_s)

    def used_up(self, address: str | None) -> bool:
        """Whether the next try comes too early."""
        return self.wait_s(address) > 0.0

    def take(self, address: str | None) -> bool:
        """Count a try; False when it came too early, and then it costs nothing."""
        if self.used_up(address):
            return False
        key, now = _network(address), self._clock()
        self._full_at[key] = max(self._full_at.get(key, now), now) + self._every_s
        self._full_at.move_to_end(key)
        if len(self._full_at) > self._most:
            self._full_at.popitem(last=False)
        return True


def allowance(rate: Rate, clock: Callable[[], float] = time.monotonic) -> Allowance:
    """At this rate."""
    return Allowance(rate.burst, 60.0 / rate.per_minute, clock=clock)


class Allowances:
    """Those of one server. Not for several threads."""

    def __init__(self, rates: Rates, clock: Callable[[], float] = time.monotonic) -> None:
        self.wrong = allowance(rates.wrong, clock)
        self._by_address = {kind: allowance(getattr(rates, kind), clock) for kind in KINDS}
        self._by_token, self._everyone = allowance(rates.token, clock), allowance(rates.everyone, clock)

    def take(self, kind: str, address: str | None, token: str | None) -> float:
        """Count a request of one of KINDS; token: id of the signed token that it came with. Returns 0, or after how
        many seconds it may come again: then it has cost nothing."""
        asked = [(self._by_address[kind], address)]
        if kind != "changes":
            asked += [(self._everyone, "")] + ([(self._by_token, token)] if token is not None else [])
        wait_s = max(each.wait_s(whose) for each, whose in asked)
        if wait_s == 0.0:
            for each, whose in asked:
                each.take(whose)
        return wait_s


class Proxies:
    """Whose word counts about where a request comes from."""

    def __init__(self, trusted: Iterable[str]) -> None:
        self._networks = tuple(_proxy(one) for one in trusted)

    def trusts(self, address: str | None) -> bool:
        """Whether a proxy of ours is at this address."""
        try:
            found = ipaddress.ip_address(plain(address or ""))
        except ValueError:
            return False
        return any(found in network for network in self._networks)

    def origin(self, remote: str | None, forwarded: Iterable[str]) -> str | None:
        """The address that counts. forwarded: the values of X-Forwarded-For, of which only what our own proxies added,
        from the right, is believed."""
        if not self.trusts(remote):
            return remote
        for named in reversed(",".join(forwarded).split(",")[-_MOST_FORWARDED:]):
            try:
                ipaddress.ip_address(named.strip())
            except ValueError:
                return remote
            remote = named.strip()
            if not self.trusts(remote):
                return remote
        return remote


def _proxy(text: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    try:
        return ipaddress.ip_network(text)
    except ValueError as error:
        raise ConfigError(
            f"proxy: got {text!r}, expected an address or network in figures, as 10.0.0.0/8"
        ) from error


def _network(address: str | None) -> str:
    named = plain(address or "")
    if ":" not in named:
        return named
    try:
        return str(ipaddress.ip_network((int(ipaddress.IPv6Address(named)) >> 64 << 64, 64)))
    except ValueError:
        return named


def plain(address: str) -> str:
    """An IPv4 address as such, also where a socket for both kinds writes it as one of IPv6."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address
    return str((parsed.version == 6 and parsed.ipv4_mapped) or parsed)
