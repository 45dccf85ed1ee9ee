"""Where things are kept that can be computed again: the service's cache folder, or the user's."""

import os
from pathlib import Path


def cache_folder() -> Path:
    """$CACHE_DIRECTORY (set by systemd), else $XDG_CACHE_HOME/senbetsu, else ~/.cache/senbetsu."""
    service = os.environ.get("CACHE_DIRECTORY")
    if service:
        return Path(service.split(":")[0])
    user = os.environ.get("XDG_CACHE_HOME")
    return (Path(user) if user else Path.home() / ".cache") / "senbetsu"
