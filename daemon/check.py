"""What the daemon needs of its config."""

from senbetsu.config import Config
from senbetsu.errors import UserError


def check_config(config: Config) -> None:
    """What the daemon needs beyond well-formed settings. Raises UserError."""
    if not config.cameras:
        raise UserError("no camera is configured: give a config file with [[cameras]] and [[gates]] (--config)")
    for gate in config.gates:
        triggers = {camera.trigger for camera in config.cameras_of(gate.name)}
        if len(triggers) > 1:
            raise UserError(
                f"gates.{gate.name}: its cameras have trigger = {' and '.join(sorted(triggers))}, but all looks at "
                "a part must be of one kind; set cameras.trigger alike, or give the free-running one a gate of its own"
            )
