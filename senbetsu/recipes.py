"""Recipes: several products on one line. Each is a folder with its artefacts and a recipe.toml that gives its number.

The one that the config names as `artifacts` is a recipe too: it has the config's number unless a recipe.toml is there.
"""

from dataclasses import dataclass
from pathlib import Path

from senbetsu.config import RECIPE_FILE, Config, read_recipe
from senbetsu.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Recipe:
    """One product."""

    name: str
    number: int
    folder: Path


def named(config: Config) -> Recipe:
    """The recipe that a config's `artifacts` are."""
    return Recipe(config.artifacts.resolve().name, config.recipe, config.artifacts)


def find_recipe(config: Config, name: str | None = None, number: int | None = None) -> Recipe:
    """The recipe of this name or number, among `recipes_dir` and the config's own artefacts.

    Raises:
        ConfigError: there is none or more than one, or its recipe.toml is wrong. Another one that is wrong does not matter.
    """
    folders = {path.parent.resolve(): path.parent for path in sorted(config.recipes_dir.glob(f"*/{RECIPE_FILE}"))}
    folders.setdefault(config.artifacts.resolve(), config.artifacts)
    broken: list[str] = []
    if name is not None:
        chosen = [folder for resolved, folder in folders.items() if resolved.name == name]
        if len(chosen) == 1:
            return Recipe(name, _number(config, chosen[0]), chosen[0])
        asked, clashing = f"recipe {name!r}", [str(folder) for folder in chosen]
        known = [resolved.name for resolved in folders]
    else:
        found = []
        for resolved, folder in folders.items():
            try:
                found.append(Recipe(resolved.name, _number(config, folder), folder))
            except ConfigError as error:
                broken.append(str(error))
        matching = [recipe for recipe in found if recipe.number == number]
        if len(matching) == 1:
            return matching[0]
        asked, clashing = f"recipe {number}", [str(recipe.folder) for recipe in matching]
        known = [f"{recipe.number} ({recipe.name})" for recipe in found]
    if clashing:
        raise ConfigError(f"{asked}: {' and '.join(clashing)} both have it; give each its own")
    unread = "".join(f"; not readable: {error}" for error in broken)
    raise ConfigError(
        f"{asked}: there is none; there are {', '.join(known)}. A recipe is a folder {config.recipes_dir}/NAME with a "
        f"{RECIPE_FILE} that sets recipe to its number, and its artefacts{unread}"
    )


def _number(config: Config, folder: Path) -> int:
    path = folder / RECIPE_FILE
    if not path.is_file():
        return config.recipe
    number: int = read_recipe(path)["recipe"]
    return number
