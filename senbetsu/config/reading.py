"""From flags, recipe, file and defaults to settings, or to one clear error."""

import copy
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from senbetsu.config.whole import Config, RecipeFile
from senbetsu.errors import ConfigError

DEFAULT_CONFIG = Path("config.toml")
RECIPE_FILE = "recipe.toml"


def load_config(path: Path | None = None, overrides: dict[str, Any] | None = None) -> Config:
    """Read the settings.

    Args:
        path: the file given by `--config`; None: `config.toml` of the working directory if there is one.
        overrides: values from flags by dotted name (`{"engine.precision": "fp32"}`); None values are left out.

    Raises:
        ConfigError: the file is missing or not TOML, or a setting is unknown, of the wrong type or out of range.
    """
    return read_settings(path, overrides).config()


def read_settings(path: Path | None = None, overrides: dict[str, Any] | None = None) -> "Settings":
    """As `load_config`, but nothing is checked and no recipe chosen yet. Raises ConfigError where the file is no TOML."""
    flags = {dotted: value for dotted, value in (overrides or {}).items() if value is not None}
    if path is None and DEFAULT_CONFIG.is_file():
        path = DEFAULT_CONFIG
    return Settings("flags", {}, flags) if path is None else Settings(str(path), _read_toml(path), flags)


@dataclass(frozen=True, slots=True)
class Settings:
    """Config file and flags as they were read: what the settings of every recipe are made of."""

    where: str
    document: dict[str, Any]
    flags: dict[str, Any]

    def config(self, artifacts: Path | None = None) -> Config:
        """The settings with this folder of artefacts; None: with the one that file or flags name.

        Flags win over the folder's recipe.toml, which wins over the config file; but a recipe's number is its own.

        Raises:
            ConfigError: a setting is unknown, of the wrong type or out of range, here or in recipe.toml.
        """
        document = copy.deepcopy(self.document)
        flags = dict(self.flags) if artifacts is None else {**self.flags, "artifacts": artifacts}
        folder = flags.get("artifacts", document.get("artifacts", Config.model_fields["artifacts"].default))
        path = Path(folder) / RECIPE_FILE if isinstance(folder, str | Path) else Path(RECIPE_FILE)
        recipe = read_recipe(path) if path.is_file() else {}
        for name, value in recipe.items():
            before = document.get(name)
            document[name] = {**before, **value} if isinstance(before, dict) and isinstance(value, dict) else value
        for dotted, value in flags.items():
            if dotted != "recipe" or not recipe:
                _put(document, dotted, value)
        try:
            return Config.model_validate(document)
        except ValidationError as error:
            raise ConfigError(_explain(error, f"{self.where} with {path}" if recipe else self.where)) from error


def read_recipe(path: Path) -> dict[str, Any]:
    """What a recipe.toml sets, as nested tables.

    Raises:
        ConfigError: it is no TOML, lacks its number, or sets what does not belong to a recipe.
    """
    document = _read_toml(path)
    may_set = ", ".join(RecipeFile.model_fields)
    for name in document:
        if name in Config.model_fields and name not in RecipeFile.model_fields:
            raise ConfigError(
                f"{path}: {name}: belongs to the line, which runs on while the recipe changes; a recipe may set {may_set}"
            )
    try:
        RecipeFile.model_validate(document)
    except ValidationError as error:
        raise ConfigError(_explain(error, str(path), RecipeFile)) from error
    return document


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such config file; give an existing one with --config, or leave it out") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not valid TOML: {error}") from error
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error


def _put(document: dict[str, Any], dotted: str, value: object) -> None:
    """Set `a.b` or `cameras.0.source` in nested tables and lists."""
    *parents, last = dotted.split(".")
    at: Any = document
    try:
        for key in parents:
            at = at[int(key)] if isinstance(at, list) else at.setdefault(key, {})
        if isinstance(at, list):
            at[int(last)] = value
        else:
            at[last] = value
    except (IndexError, ValueError, AttributeError, TypeError):
        raise ConfigError(f"--set {dotted}: there is no such setting in the config file") from None


def _explain(error: ValidationError, where: str, root: type[BaseModel] = Config) -> str:
    """One line a fault: the field's path, what was found, what is allowed."""
    lines = []
    for fault in error.errors():
        path = ".".join(str(part) for part in fault["loc"])
        if fault["type"] == "extra_forbidden":
            *section, _ = fault["loc"]
            known = ", ".join(_keys_of(section, root))
            lines.append(f"{where}: {path}: unknown setting; allowed here: {known}")
        elif fault["type"] == "missing" and root is RecipeFile:
            lines.append(f"{where}: {path}: missing; give the recipe its number, such as recipe = 2")
        elif not path:
            lines.append(f"{where}: {fault['msg'].removeprefix('Value error, ')}")
        else:
            lines.append(f"{where}: {path} = {fault['input']!r}: {fault['msg'].removeprefix('Value error, ')}")
    return "\n".join(lines)


def _keys_of(section: list[int | str], root: type[BaseModel]) -> list[str]:
    at = root
    for part in section:
        if isinstance(part, int):
            continue
        annotation = at.model_fields[part].annotation
        arguments = getattr(annotation, "__args__", ())
        at = arguments[0] if arguments else annotation  # type: ignore[assignment]
    return list(at.model_fields)
