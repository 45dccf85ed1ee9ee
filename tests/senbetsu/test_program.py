"""The flags that all programs know."""

from pathlib import Path

import pytest

from senbetsu.program import parser, settings_of


def settings(*words: str, **overrides: object):
    return settings_of(
        parser("train", "").parse_args(words), {f"train.{key}": value for key, value in overrides.items()}
    )


def test_a_flag_that_was_not_given_leaves_what_set_says() -> None:
    assert settings("--set", "train.steps=60", steps=None).train.steps == 60


def test_a_flag_of_its_own_goes_before_set() -> None:
    assert settings("--set", "train.steps=60", steps=70).train.steps == 70


@pytest.mark.parametrize("words", [("--set", "artifacts=here"), ("--set", "artifacts=there", "--artifacts", "here")])
def test_the_folder_of_artefacts_is_a_setting_like_others(words: tuple[str, ...]) -> None:
    assert settings(*words).artifacts == Path("here")
