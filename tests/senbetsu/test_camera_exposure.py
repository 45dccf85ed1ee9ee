"""The earliest exposure is never later than the true one, whatever the driver's queue does."""

from hypothesis import given
from hypothesis import strategies as st

from senbetsu.camera.exposure import ExposureClock

INTERVAL = 1000


@st.composite
def pipelines(draw: st.DrawFn) -> list[tuple[int, int, int, int]]:
    """A sensor in free run: (true start of exposure, frame delivered, asked for, taken), in ns.

    Frame n is exposed for at most an interval up to (n + 1) x interval, then read out for at most another; a program
    that is sometimes late takes frames off the driver's queue one after the other.
    """
    base = 10**10
    frames = []
    free_at = base
    for n in range(draw(st.integers(1, 30))):
        exposed = base + n * INTERVAL + INTERVAL - draw(st.integers(1, INTERVAL))
        delivered = base + (n + 1) * INTERVAL + draw(st.integers(1, INTERVAL - 1))
        asked = max(free_at, frames[-1][3] if frames else base)
        taken = max(asked, delivered)
        frames.append((exposed, delivered, asked, taken))
        free_at = taken + draw(st.sampled_from([0, 10, 100, 3 * INTERVAL, 6 * INTERVAL]))
    return frames


@given(pipelines())
def test_by_arrival_it_is_never_later_than_the_exposure_was(frames: list[tuple[int, int, int, int]]) -> None:
    clock = ExposureClock(INTERVAL)
    for exposed, _, asked, taken in frames:
        # A frame that was there already counts as no newer than the one before; one that was waited for is fresh.
        assert clock.earliest_ns(asked, taken, driver_stamp_ns=0) <= exposed


@given(pipelines(), st.integers(2, 8))
def test_a_camera_that_gives_fewer_frames_than_it_states_is_believed_by_what_it_gives(
    frames: list[tuple[int, int, int, int]], slower: int
) -> None:
    """After its first two: before that nothing but its word says how long it exposes."""
    clock = ExposureClock(INTERVAL // slower)
    for number, (exposed, delivered, asked, _) in enumerate(frames):
        if asked > delivered:
            break  # by then frames come from the driver's queue, and their distance says nothing
        clock.free_running_frame(delivered)
        earliest = clock.earliest_ns(asked, delivered, driver_stamp_ns=0)
        assert number < 2 or earliest <= exposed


@given(pipelines())
def test_by_the_drivers_stamp_it_is_never_later_either_and_at_most_two_intervals_before_the_stamp(
    frames: list[tuple[int, int, int, int]],
) -> None:
    clock = ExposureClock(INTERVAL)
    for exposed, delivered, asked, taken in frames:
        earliest = clock.earliest_ns(asked, taken, driver_stamp_ns=delivered)
        assert delivered - 2 * INTERVAL <= earliest <= exposed


@given(st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 10**6), st.integers(-(10**12), 10**12)), max_size=20))
def test_it_never_falls_back(readings: list[tuple[int, int, int]]) -> None:
    clock = ExposureClock(INTERVAL)
    told = [clock.earliest_ns(asked, asked + waited, stamp) for asked, waited, stamp in readings]
    assert told == sorted(told)


def test_a_frame_that_had_waited_in_the_driver_counts_as_no_newer_than_the_one_before() -> None:
    clock = ExposureClock(INTERVAL)
    first = clock.earliest_ns(asked_ns=50_000, arrived_ns=50_900, driver_stamp_ns=0)
    assert first == 50_900 - 2 * INTERVAL
    assert clock.earliest_ns(asked_ns=90_000, arrived_ns=90_001, driver_stamp_ns=0) == first
