"""What every program's command line has in common: the flags for settings, logging, and how an error ends it."""

import argparse
import logging
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from senbetsu import __version__
from senbetsu.config import Config, Settings, read_settings
from senbetsu.errors import ConfigError, UserError

EXIT_OK = 0
EXIT_FAULT = 1
EXIT_USER_ERROR = 2


def parser(program: str, description: str) -> argparse.ArgumentParser:
    """An argument parser with the flags that all programs know: --config, --artifacts, --set, --verbose, --version."""
    flags = argparse.ArgumentParser(prog=f"senbetsu {program}", description=description)
    flags.add_argument(
        "--config", type=Path, metavar="FILE", help="settings (default: config.toml here, if there is one)"
    )
    flags.add_argument("--artifacts", type=Path, metavar="DIR", help="folder of embedding.* and profile.*")
    flags.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", dest="settings",
        help="one setting, by its dotted name; VALUE as in TOML (--set engine.precision=fp32 --set cameras.0.loop=true)",
    )  # fmt: skip
    flags.add_argument("--verbose", action="store_true", help="log more")
    flags.add_argument("--version", action="version", version=f"senbetsu {__version__}")
    return flags


def settings_of(arguments: argparse.Namespace, overrides: dict[str, Any] | None = None) -> Config:
    """The settings of a run: flags over recipe over file over defaults. Raises ConfigError."""
    return read(arguments, overrides).config()


def read(arguments: argparse.Namespace, overrides: dict[str, Any] | None = None) -> Settings:
    """What the settings of a run are made of, for a program that changes recipes. Raises ConfigError.

    Args:
        overrides: what other flags set, which goes before `--set`; None is a flag that was not given.
    """
    given: dict[str, Any] = {}
    for assignment in arguments.settings:
        key, equals, text = assignment.partition("=")
        if not equals or not key:
            raise ConfigError(f"--set {assignment}: expected KEY=VALUE, for example --set engine.precision=fp32")
        given[key.strip()] = _toml_value(text.strip())
    flags = {"artifacts": arguments.artifacts, **(overrides or {})}
    return read_settings(arguments.config, given | {key: value for key, value in flags.items() if value is not None})


def _toml_value(text: str) -> object:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text  # a bare word is a text


def run(main: Callable[[], int], program: str) -> int:
    """Call a program's main function; a UserError becomes one clear message and status 2, nothing else is caught."""
    try:
        return main()
    except UserError as error:
        print(f"senbetsu {program}: error: {error}", file=sys.stderr)  # noqa: T201
        return EXIT_USER_ERROR
    except KeyboardInterrupt:
        print(f"senbetsu {program}: interrupted", file=sys.stderr)  # noqa: T201
        return 130


def set_up_logging(*, verbose: bool) -> None:
    """Log to standard error; time stamps are the service manager's business when it runs the program."""
    logging.basicConfig(
        level=logging.DEBUG if verbose else logging.INFO,
        format="%(asctime)s %(levelname)-7s %(name)s: %(message)s",
        stream=sys.stderr,
        force=True,
    )
    for chatty in ("matplotlib", "PIL", "openvino", "asyncio"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    # It writes out every malformed frame in full: whoever sends many would fill the disk.
    logging.getLogger("pymodbus").setLevel(logging.WARNING if verbose else logging.CRITICAL)
    # It warns of the classifier's weights, which a network that only gives features has no use for.
    logging.getLogger("timm").setLevel(logging.ERROR)
