"""The whole line: what the gate did, whatever happened behind it."""


def test_every_trigger_is_passed_or_rejected_and_all_books_agree(rig) -> None:
    daemon, bridge = rig.start("daemon"), rig.start("bridge")
    daemon.wait_until_ready()
    bridge.wait_until_ready()
    plc = rig.start_plc("--parts", "125", "--rate-hz", "25")
    assert plc.process.wait(timeout=60) == 0, plc.log.read_text()
    report = rig.report()
    assert report["triggers"] == 125
    assert report["opened"] + report["kept_shut"] == 125
    assert report["reconciled"]
    assert report["bridge_counters"]["lost"] == report["bridge_counters"]["missed"] == 0
    assert report["opened"] > 60
    assert (daemon.stop(), bridge.stop()) == (0, 0)
    assert "0 looks unsettled" in daemon.log.read_text()


def test_after_kill_minus_nine_of_the_daemon_nothing_passes_until_a_new_run(rig) -> None:
    daemon, bridge = rig.start("daemon"), rig.start("bridge")
    daemon.wait_until_ready()
    bridge.wait_until_ready()
    results = rig.subscribe()
    plc = rig.start_plc("--seconds", "25", "--rate-hz", "25")
    results.until_passed(20)
    killed_at_ns = daemon.kill()
    back = rig.start("daemon")
    back_at_ns = back.wait_until_ready()
    assert plc.process.wait(timeout=90) == 0, plc.log.read_text()
    report = rig.report()
    assert report["balanced"]
    assert report["reconciled"]
    dark = [part for part in report["parts"] if killed_at_ns < part["written_at_ns"] < back_at_ns - 500_000_000]
    assert len(dark) > 10, "the fault was too short to show anything"
    assert not any(part["opened"] for part in dark)
    before = [part for part in report["parts"] if part["written_at_ns"] < killed_at_ns]
    after = [part for part in report["parts"] if part["written_at_ns"] > back_at_ns + 1_000_000_000]
    assert any(part["opened"] for part in before)
    assert any(part["opened"] for part in after), "the line goes on under the new epoch"
    assert {part["run"] for part in before}.isdisjoint(part["run"] for part in after)


def test_after_kill_minus_nine_of_the_bridge_nothing_passes_until_a_new_run(rig) -> None:
    daemon, bridge = rig.start("daemon"), rig.start("bridge")
    daemon.wait_until_ready()
    bridge.wait_until_ready()
    results = rig.subscribe()
    plc = rig.start_plc("--seconds", "15", "--rate-hz", "25")
    results.until_passed(20)
    killed_at_ns = bridge.kill()
    back = rig.start("bridge")
    back_at_ns = back.wait_until_ready()
    assert plc.process.wait(timeout=90) == 0, plc.log.read_text()
    report = rig.report()
    assert report["balanced"]
    dark = [part for part in report["parts"] if killed_at_ns < part["written_at_ns"] < back_at_ns - 200_000_000]
    assert not any(part["opened"] for part in dark)
    after = [part for part in report["parts"] if part["written_at_ns"] > back_at_ns + 1_500_000_000]
    assert any(part["opened"] for part in after)
