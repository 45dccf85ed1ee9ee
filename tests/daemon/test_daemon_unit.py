"""The service unit is one that systemd accepts, and it starts the daemon as documented."""

import configparser
import shutil
import subprocess
from pathlib import Path

import pytest

UNIT = Path(__file__).parents[2] / "systemd/senbetsu-daemon.service"
EXECUTABLE = "/opt/senbetsu/bin/senbetsu"


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")
def test_systemd_accepts_the_unit(tmp_path: Path) -> None:
    # verify looks for the executable, which is only there on a line PC.
    text = UNIT.read_text()
    assert EXECUTABLE in text
    copy = tmp_path / UNIT.name
    copy.write_text(text.replace(EXECUTABLE, "/bin/true"))
    done = subprocess.run(["systemd-analyze", "verify", str(copy)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_it_is_restarted_watched_and_not_root() -> None:
    unit = configparser.ConfigParser(strict=False, interpolation=None)
    unit.optionxform = str  # type: ignore[assignment,method-assign]
    unit.read(UNIT)
    service = unit["Service"]
    assert service["ExecStart"] == f"{EXECUTABLE} daemon --config /etc/senbetsu/config.toml"
    assert (service["Type"], service["Restart"], service["User"]) == ("notify", "always", "senbetsu")
    assert service["StateDirectory"] == "senbetsu"
    # The engine proves itself once a second at least; a watchdog shorter than that would end a healthy daemon.
    # realtime.fifo_priority asks for a fixed priority; RestrictRealtime would refuse it whatever the limit.
    assert "RestrictRealtime" not in service
    assert int(service["LimitRTPRIO"]) == 49
    assert float(service["WatchdogSec"]) > 2
