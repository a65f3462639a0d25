"""The driver's sound: untouched, in time with the picture, in small steps, bounded."""

from __future__ import annotations

import asyncio
import itertools
import random

import pytest
from aiortc.mediastreams import MediaStreamError

from streaming.sound import (
    BEGIN_S,
    DEAD_S,
    FAST_FROM_S,
    MOST_DELAY_S,
    QUIET_STEP_S,
    STEP_S,
    Sound,
    SoundLine,
    slewed,
)
from tests.streaming.sounding import PACKET_S, Counted, Driver, in_virtual_time

NS = 1e-9


def steps(driver: Driver) -> list[float]:
    """By how much more each packet was put off than the one before it."""
    offsets = [left_s - t for t, left_s in driver.left]
    return [b - a for a, b in itertools.pairwise(offsets[1:])]  # the first one may be late


def test_packets_come_out_as_they_came_and_all_of_them():
    """Pass-through: bytes, order and number are those of the driver, whatever the delay does."""
    driver = Driver(20, age=lambda t: 0.1 if t < 10 else 0.25)
    in_virtual_time(driver.play)
    numbers = [int.from_bytes(payload, "big") for payload in driver.payloads]
    assert numbers == list(range(numbers[0], 1000))
    assert numbers[0] <= 10
    assert driver.recorder.packets.count("forwarded") == len(numbers)
    assert set(driver.recorder.packets[20:]) == {"forwarded"}


@pytest.mark.parametrize("after", [0.18, 0.35, 0.02])
def test_the_delay_moves_by_a_millisecond_a_packet(after):
    """No step that a listener hears: at most 1 ms per packet, towards more and towards less."""
    driver = Driver(16, age=lambda t: 0.12 if t < 3 else after)
    in_virtual_time(driver.play)
    assert max(map(abs, steps(driver))) <= STEP_S + NS
    assert max(map(abs, driver.skew(1, 2.5))) <= DEAD_S + NS
    assert max(map(abs, driver.skew(15.5, 16))) <= DEAD_S + STEP_S + NS


def test_while_nobody_speaks_it_moves_faster():
    """A large change is made up in a pause where there is one."""

    def settled_s(level: int) -> float:
        driver = Driver(14, age=lambda t: 0.12 if t < 3 else 0.42, level=lambda t: level)
        in_virtual_time(driver.play)
        assert max(map(abs, steps(driver))) <= QUIET_STEP_S + NS
        return next(t for t, left_s in driver.left if t > 3.2 and abs(left_s - t - 0.45) < 0.02)

    assert settled_s(127) < 7 < 9 < settled_s(20)


def test_jitter_of_the_way_ends_here():
    """Packets leave by their own time, though they arrive unevenly: a receiver needs less of a buffer."""
    draw = random.Random(3)
    driver = Driver(8, sound_way=lambda t: 0.03 + draw.uniform(0, 0.06))
    in_virtual_time(driver.play)
    assert max(map(abs, steps(driver)[100:])) <= STEP_S + NS


def test_a_quick_first_packet_keeps_no_other_back():
    """What came just now did not wait for the first picture, however much quicker another was on its way."""
    driver = Driver(
        5, age=lambda t: 0.0, sound_way=lambda t: 0.03 if t < 0.1 else 0.09, picture_way=lambda t: 0.25
    )
    in_virtual_time(driver.play)
    assert len(driver.left) > 230
    assert driver.left[0][1] < 0.35


def test_pictures_of_changing_age_do_not_shake_the_sound():
    """The median of a second of pictures is followed, and not every one of them."""
    draw = random.Random(5)
    driver = Driver(10, age=lambda t: 0.12 + draw.choice([0.0, 0.0, 0.0, 0.08]))
    in_virtual_time(driver.play)
    assert max(map(abs, steps(driver))) <= STEP_S + NS
    moved = sum(map(abs, steps(driver)))
    assert moved < 0.02


def test_sound_is_ahead_by_what_a_receiver_takes_and_never_before_it_came():
    """The lead is taken out of the delay; where there is none left it is shorter, and told as what it is."""

    async def play(loop, age_s):
        driver = Driver(6, age=lambda t: age_s, lead_s=0.04)
        line = await driver.play(loop)
        return driver.skew(4, 6), line.ahead_s, driver.recorder.skews[-30:]

    for age_s, ahead_s in ((0.2, 0.04), (0.015, 0.015)):
        skews, told_s, reported = in_virtual_time(lambda loop, age_s=age_s: play(loop, age_s))
        assert told_s == pytest.approx(ahead_s, abs=1e-4)
        assert max(abs(skew + ahead_s) for skew in skews) <= DEAD_S + NS
        assert max(map(abs, reported)) <= DEAD_S + NS


@pytest.mark.parametrize("encoder_s", [0.04, 0.2, -0.05])
def test_reports_tell_what_arrivals_do_not(encoder_s):
    """A driver's video encoder delays its pictures: by sender reports sound waits for that too."""
    ways = {"picture_way": lambda t: 0.08 + encoder_s, "sound_way": lambda t: 0.08}
    without = Driver(6, **ways)
    in_virtual_time(without.play)
    told = Driver(12, **ways, ntp=lambda t: 3.9e9 + t)
    in_virtual_time(told.play)
    assert max(map(abs, told.skew(11, 12))) <= DEAD_S + STEP_S + NS
    assert not without.reports[0]["by_reports"]
    assert told.reports[0]["by_reports"]
    assert min(without.skew(5, 6)) == pytest.approx(-encoder_s, abs=DEAD_S + STEP_S)


@pytest.mark.parametrize("step_s", [-3600.0, -0.3, 0.03, 1.0, 5e6])
def test_a_sender_that_sets_its_clock_shifts_nothing(step_s):
    """Only differences of its clock enter, and never one of before a step and one of after it."""
    driver = Driver(20, ntp=lambda t: 3.9e9 + t + (step_s if t > 8.3 else 0.0))
    in_virtual_time(driver.play)
    assert max(map(abs, driver.skew(2, 20))) <= DEAD_S + STEP_S + NS
    assert max(map(abs, steps(driver)[100:])) <= NS


def test_old_reports_are_not_believed():
    """Of a sender that stopped to report the arrivals are better known after half a minute."""
    driver = Driver(50, picture_way=lambda t: 0.09, ntp=lambda t: 3.9e9 + t if t < 10 else 0.0)
    in_virtual_time(driver.play)
    assert max(map(abs, driver.skew(20, 35))) <= DEAD_S + STEP_S + NS
    assert driver.skew(49, 50)[-1] == pytest.approx(-0.06, abs=DEAD_S + STEP_S)


def test_without_pictures_sound_goes_as_it_comes():
    """A session that shows nothing yet is heard after a second at most."""
    driver = Driver(4, age=lambda t: 60.0)
    in_virtual_time(driver.play)
    first = driver.left[0][0]
    assert first <= BEGIN_S
    assert driver.left[-1][1] - driver.left[-1][0] == pytest.approx(0.03)


def test_no_sound_is_held_longer_than_stated():
    """The queue is bounded by the delay, whatever the pictures do."""
    driver = Driver(8, age=lambda t: 4.0)
    in_virtual_time(driver.play)
    assert max(driver.recorder.waited) <= MOST_DELAY_S + NS


def test_a_pause_of_the_speaker_is_kept():
    """Opus DTX sends nothing while nobody speaks: the gap stays in the time line, and the delay after it is right."""
    driver = Driver(10, speaks=lambda t: not 3 < t < 5, age=lambda t: 0.1 if t < 4 else 0.3)
    in_virtual_time(driver.play)
    assert max(map(abs, driver.skew(5.2, 9))) <= FAST_FROM_S + 0.01
    assert set(driver.recorder.packets[20:]) == {"forwarded"}


def run(test):
    return in_virtual_time(test)


def test_packets_out_of_order_are_put_in_order_and_twice_is_once():
    """While a packet waits, an earlier one may still come before it."""

    async def play(loop):
        line = SoundLine(Counted(), clock=loop.time, lead_s=0.0)
        track = line.watch()
        taking = loop.create_task(_take(track, 4))
        for number in (0, 2, 1, 2, 3):
            line.took(Sound(1, number * 960, bytes([number])))
        line.sync.picture_packet(0)
        line.picture_left(loop.time(), loop.time() + 0.1)
        await asyncio.sleep(1)
        line.end()
        return await taking, line

    packets, line = run(play)
    assert [bytes(packet) for packet in packets] == [b"\0", b"\1", b"\2", b"\3"]
    assert [packet.pts for packet in packets] == [0, 960, 1920, 2880]
    assert line.report()["dropped"] == {"repeated": 1}


def test_a_flood_is_not_passed_on():
    """Ten thousand packets a second, a tick apart: listeners get no more of them than there is Opus in that time."""

    async def play(loop):
        recorder = Counted()
        line = SoundLine(recorder, clock=loop.time)
        taking = loop.create_task(_take(line.watch(), 100_000))
        for number in range(4_000):
            if not number % 333:
                line.sync.picture_packet(number * 9)
                line.picture_left(loop.time(), loop.time() + 0.1)
            line.took(Sound(1, number * 5, b"flood"))
            await asyncio.sleep(1e-4)
        await asyncio.sleep(1)
        assert len(line._waiting) == 0
        line.end()
        return len(await taking), recorder.packets.count("repeated") + recorder.packets.count("late")

    passed, refused = run(play)
    assert passed <= 200
    assert refused >= 3_500


async def _take(track, count):
    found = []
    try:
        while len(found) < count:
            found.append(await track.recv())
    except MediaStreamError:
        pass
    return found


def test_muted_and_paused_nothing_is_passed_on():
    """Both are kept apart: the end of a pause does not unmute."""

    async def play(loop):
        line = SoundLine(Counted(), clock=loop.time)
        taking = loop.create_task(_take(line.watch(), 1000))
        for number in range(250):
            second = number // 50
            line.muted, line.paused = second in (1, 2), second in (2, 3)
            line.sync.picture_packet(number * 1800)
            line.took(Sound(1, number * 960, number.to_bytes(2, "big")))
            line.picture_left(loop.time(), loop.time())
            await asyncio.sleep(PACKET_S)
        line.end()
        return [int.from_bytes(bytes(packet), "big") // 50 for packet in await taking]

    assert set(run(play)) == {0, 4}


def test_all_who_listen_get_the_same_and_one_who_does_not_take_keeps_nothing_back():
    """Several viewers: one stream of packets each, bounded."""

    async def play(loop):
        recorder = Counted()
        line = SoundLine(recorder, clock=loop.time)
        first, second, slow = (line.watch() for _ in range(3))
        taking = [loop.create_task(_take(track, 1000)) for track in (first, second)]
        slow_took = loop.create_task(_take(slow, 1))
        for number in range(500):
            line.sync.picture_packet(number * 1800)
            line.took(Sound(1, number * 960, number.to_bytes(2, "big")))
            line.picture_left(loop.time(), loop.time())
            await asyncio.sleep(PACKET_S)
        kept = len(slow._packets)
        second.stop()
        line.end()
        await slow_took
        return [[bytes(packet) for packet in await each] for each in taking], kept, recorder

    (first, second), kept, recorder = run(play)
    assert first == second
    assert len(first) >= 490
    assert kept <= 51
    assert recorder.packets.count("overflow") >= 440


def test_another_stream_goes_on_in_the_same_time_line():
    """A microphone that was changed begins anew (SSRC, timestamps); what a listener gets rises on."""

    async def play(loop):
        line = SoundLine(Counted(), clock=loop.time)
        taking = loop.create_task(_take(line.watch(), 1000))
        for number in range(300):
            line.sync.picture_packet(number * 1800)
            stream, start = (1, 0) if number < 150 else (2, 123_456_789)
            line.took(Sound(stream, start + number * 960, number.to_bytes(2, "big")))
            line.picture_left(loop.time(), loop.time() + 0.1)
            await asyncio.sleep(PACKET_S)
        await asyncio.sleep(1)
        line.end()
        return await taking

    packets = run(play)
    rising = [b.pts - a.pts for a, b in itertools.pairwise(packets)]
    assert min(rising) > 0
    assert max(rising) <= 30 * 960
    assert int.from_bytes(bytes(packets[-1]), "big") == 299


def test_after_its_end_nothing_leaves():
    """Who listens is told at once, and what waits is gone."""

    async def play(loop):
        line = SoundLine(Counted(), clock=loop.time)
        track = line.watch()
        line.took(Sound(1, 0, b"a"))
        line.end()
        line.took(Sound(1, 960, b"b"))
        with pytest.raises(MediaStreamError):
            await track.recv()
        with pytest.raises(MediaStreamError):
            await line.watch().recv()
        await asyncio.sleep(3)

    run(play)


@pytest.mark.parametrize(
    ("offset", "wanted", "step", "got"),
    [
        (0.1, 0.104, STEP_S, 0.1),
        (0.1, 0.3, STEP_S, 0.101),
        (0.3, 0.1, STEP_S, 0.299),
        (0.1, 0.15, STEP_S, 0.1005),
        (0.107, 0.1, STEP_S, 0.1069),
        (0.1, 0.2, QUIET_STEP_S, 0.11),
        (0.3, 0.1, QUIET_STEP_S, 0.29),
        (0.1, 0.155, QUIET_STEP_S, 0.105),
        (0.1, 0.12, QUIET_STEP_S, 0.1002),
    ],
)
def test_one_step(offset, wanted, step, got):
    """By hand: the dead zone, a millisecond, less of what is near, and the faster way down to where it ends."""
    assert slewed(offset, wanted, step) == pytest.approx(got, abs=NS)
