"""Recipes on disk: found by name and number, with settings of their own, and a clear error where they cannot be used."""

from pathlib import Path

import pytest

from senbetsu.config import Config, load_config, read_settings
from senbetsu.errors import ArtifactError, ConfigError
from senbetsu.profile import check_recipe_binding
from senbetsu.recipes import Recipe, find_recipe


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with a config file, its artefacts (recipe 1), and two recipes."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "artifacts").mkdir()
    (tmp_path / "config.toml").write_text("recipe = 1\n[train]\nsteps = 50\nseed = 3\n[engine]\nmax_batch = 4\n")
    write("small", "recipe = 2\n[train]\nsteps = 70\n[calibrate]\nfalse_reject_rate = 0.02\n")
    write("large", "recipe = 3\n")
    return tmp_path


def write(name: str, text: str) -> Path:
    folder = Path("recipes") / name
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "recipe.toml").write_text(text)
    return folder


def test_a_recipe_is_found_by_name_and_by_number_and_so_are_the_configs_own_artefacts(place: Path) -> None:
    config = load_config()
    small = Recipe("small", 2, Path("recipes/small"))
    assert find_recipe(config, name="small") == find_recipe(config, number=2) == small
    assert (
        find_recipe(config, number=1)
        == find_recipe(config, name="artifacts")
        == Recipe("artifacts", 1, Path("artifacts"))
    )


def test_the_configs_artefacts_may_be_one_of_the_recipes(place: Path) -> None:
    config = load_config(overrides={"artifacts": "recipes/small"})
    assert config.recipe == 2
    assert find_recipe(config, number=2).folder == find_recipe(config, name="small").folder == Path("recipes/small")
    with pytest.raises(ConfigError, match="recipe 1: there is none"):
        find_recipe(config, number=1)


def test_a_recipes_settings_win_over_the_files_key_by_key_and_flags_over_both_but_for_its_number(place: Path) -> None:
    settings = read_settings(overrides={"calibrate.false_reject_rate": 0.05, "recipe": 9})
    small, base = settings.config(Path("recipes/small")), settings.config()
    assert (small.recipe, small.train.steps, small.train.seed, small.engine.max_batch) == (2, 70, 3, 4)
    assert small.calibrate.false_reject_rate == 0.05
    assert (base.recipe, base.train.steps, base.artifacts) == (9, 50, Path("artifacts"))
    assert small.artifacts == Path("recipes/small")


def test_from_one_recipe_to_the_next_nothing_of_the_first_is_left(place: Path) -> None:
    settings = read_settings(overrides={"artifacts": "recipes/small"})
    assert settings.config().train.steps == 70
    large = settings.config(Path("recipes/large"))
    assert (large.recipe, large.train.steps, large.calibrate.false_reject_rate) == (3, 50, None)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("recipe = 2\n[[cameras]]\n", "cameras: belongs to the line.*may set recipe, model, train, calibrate"),
        ("recipe = 2\n[engine]\nprecision = 'fp32'\n", "engine: belongs to the line"),
        ("recipe = 2\nartifacts = 'elsewhere'\n", "artifacts: belongs to the line"),
        ("recipe = 2\n[trian]\nsteps = 1\n", "trian: unknown setting; allowed here: recipe, model, train, calibrate"),
        ("recipe = 2\n[train]\nstep = 1\n", "train.step: unknown setting"),
        ("recipe = 0\n", "recipe = 0: "),
        ("recipe = 70000\n", "recipe = 70000: "),
        ("", "recipe: missing; give the recipe its number"),
        ("recipe = ", "not valid TOML"),
    ],
)
def test_a_recipe_file_that_is_wrong_is_an_error_that_names_it(place: Path, text: str, says: str) -> None:
    write("small", text)
    with pytest.raises(ConfigError, match=rf"(?s)recipes/small/recipe\.toml: .*{says}"):
        read_settings().config(Path("recipes/small"))
    with pytest.raises(ConfigError, match=says):
        find_recipe(load_config(), name="small")


def test_a_wrong_recipe_is_in_the_way_of_no_other_but_said_where_a_number_is_not_found(place: Path) -> None:
    write("small", "recipe = ")
    config = load_config()
    assert find_recipe(config, number=3).name == "large"
    with pytest.raises(
        ConfigError, match=r"recipe 2: there is none; there are 3 \(large\), 1 \(artifacts\).*not readable.*small"
    ):
        find_recipe(config, number=2)


def test_a_number_or_name_that_two_have_is_refused_with_both(place: Path) -> None:
    write("large", "recipe = 2\n")
    with pytest.raises(ConfigError, match=r"recipe 2: recipes/large and recipes/small both have it"):
        find_recipe(load_config(), number=2)
    write("artifacts", "recipe = 7\n")
    with pytest.raises(ConfigError, match=r"recipe 'artifacts': .*both have it"):
        find_recipe(load_config(), name="artifacts")


def test_without_any_recipe_there_is_the_one_of_the_config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert find_recipe(Config(), number=1) == Recipe("artifacts", 1, Path("artifacts"))
    with pytest.raises(ConfigError, match="recipe 'nothing': there is none; there are artifacts"):
        find_recipe(Config(), name="nothing")


def test_a_profile_of_another_recipe_is_refused_with_what_to_run(place: Path) -> None:
    config = read_settings(Path("config.toml")).config(Path("recipes/small"))
    check_recipe_binding(2, config)
    check_recipe_binding(None, config)
    with pytest.raises(
        ArtifactError, match=r"calibrated as recipe 1, but this is recipe 2.*senbetsu calibrate --artifacts"
    ):
        check_recipe_binding(1, config)
