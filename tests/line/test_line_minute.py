"""A minute at 50 parts a second: nothing is lost, and nothing is counted twice."""

import pytest


@pytest.mark.slow
def test_three_thousand_triggers_are_three_thousand_verdicts(rig) -> None:
    daemon, bridge = rig.start("daemon"), rig.start("bridge")
    daemon.wait_until_ready()
    bridge.wait_until_ready()
    plc = rig.start_plc("--parts", "3000", "--rate-hz", "50")
    assert plc.process.wait(timeout=150) == 0, plc.log.read_text()
    report = rig.report()
    counters = report["bridge_counters"]
    assert report["triggers"] == counters["triggers"] == 3000
    assert counters["pass"] + counters["reject"] == 3000
    assert counters["pass"] == report["opened"]
    assert counters["lost"] == counters["missed"] == 0
    assert report["reconciled"]
    assert (daemon.stop(), bridge.stop()) == (0, 0)
