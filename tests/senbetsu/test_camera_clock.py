"""A camera's time stamps never come out later than the exposure was, and numbers of frames are told apart from gaps."""

from hypothesis import given
from hypothesis import strategies as st

from senbetsu.camera.device_clock import DeviceClock
from senbetsu.camera.industrial import FrameNumbers


@given(
    st.integers(0, 10**15),
    st.integers(0, 10**15),
    st.floats(-45e-6, 45e-6),
    st.integers(0, 10**8),
    st.integers(-10 * 10**9, 10 * 10**9),
)
def test_the_earliest_exposure_is_never_later_than_the_true_one(
    host_ns: int, device_ns: int, drift: float, way_ns: int, later_ns: int
) -> None:
    """The camera's clock is another's, runs up to 45 ppm fast or slow, and the question takes `way_ns` to get there."""
    clock = DeviceClock()
    assert clock.earliest_ns(device_ns) is None
    clock.ask(host_ns, device_ns)
    exposed_ns = host_ns + way_ns + later_ns
    earliest_ns = clock.earliest_ns(device_ns + round(later_ns * (1 + drift)))
    assert earliest_ns is not None
    assert earliest_ns <= exposed_ns + 1
    assert exposed_ns - earliest_ns <= way_ns + abs(later_ns) * 2e-4 + 2


def test_numbers_that_are_left_out_are_steps_of_more_than_one() -> None:
    numbers = FrameNumbers(first=0)
    assert [numbers.step(n) for n in (0, 1, 4, 5)] == [1, 1, 3, 1]


def test_a_first_frame_that_is_not_the_first_shows_what_was_lost() -> None:
    assert FrameNumbers(first=1).step(3) == 3


def test_sixteen_bits_that_run_over_are_no_loss() -> None:
    numbers = FrameNumbers(first=1)
    numbers.step(65_534)
    assert [numbers.step(n) for n in (65_535, 1, 2, 5)] == [1, 1, 1, 3]


def test_a_buffer_that_tells_no_number_counts_as_the_next_one() -> None:
    numbers = FrameNumbers(first=0)
    assert [numbers.step(n) for n in (0, None, 2)] == [1, 1, 1]
