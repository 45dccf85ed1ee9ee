"""Settings: flags over file over defaults, and errors that say what to do."""

from pathlib import Path

import pytest

from senbetsu.config import load_config
from senbetsu.errors import ConfigError


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "config.toml"
    path.write_text(text)
    return path


GATE = '[[gates]]\nname = "g"\n'
CAMERA = '[[cameras]]\nname = "c"\nkind = "folder"\nsource = "x"\ngate = "g"\n'


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "[engine]\nkid = 1\n",
            "engine.kid: unknown setting; allowed here: kind, precision, device, threads, streams, max_batch",
        ),
        ("wrong = 1\n", "wrong: unknown setting; allowed here: instance"),
        ("[train]\nmargin = -0.5\n", "train.margin = -0.5: Input should be greater than 0"),
        (
            '[engine]\nprecision = "int3"\n',
            "engine.precision = 'int3': Input should be 'auto', 'fp32', 'bf16', 'fp16' or 'int8'",
        ),
        ('[train]\nsteps = "many"\n', "train.steps = 'many': Input should be a valid integer"),
        ("[train]\nmargin = nan\n", "train.margin"),
        ("[daemon]\nheartbeat_ms = \n", "not valid TOML"),
        (GATE + GATE, "gates.name: 'g' is used twice"),
        (CAMERA, "cameras.c.gate: 'g' is not a gate"),
        (GATE + CAMERA + "lop = true\n", "cameras.0.lop: unknown setting; allowed here: name, kind"),
        (GATE + "".join(CAMERA.replace('"c"', f'"c{i}"') for i in range(17)), "more than 16 looks a part"),
        (GATE + "items = 2\n" + CAMERA, "gates.g.items = 2, but camera 'c' has 1"),
        (GATE + CAMERA + 'trigger = "hardware"\n', "trigger = 'hardware' needs a camera with a trigger input"),
        (GATE + CAMERA + "[cameras.belt]\n", "belt finds its own parts: it takes trigger = 'free_run'"),
        (GATE + CAMERA.replace('"folder"', '"genicam"'), "kind = 'genicam' needs producer"),
        (
            GATE + CAMERA.replace('"folder"', '"pylon"') + 'trigger = "hardware"\nwindow_ms = 25\n',
            "cameras.c.window_ms = 25 has to be shorter than half of gates.g.least_spacing_ms = 50",
        ),
        ("[calibrate]\nconfidence = 0.95\n", "confidence needs false_reject_rate"),
        ('[daemon]\npublish = "127.0.0.1:5556"\n', "daemon.publish = '127.0.0.1:5556'"),
    ],
)
def test_an_error_names_the_field_the_value_and_what_is_allowed(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(ConfigError) as error:
        load_config(written(tmp_path, text))
    assert said in str(error.value)
    assert str(tmp_path / "config.toml") in str(error.value)


def test_flags_win_over_the_file_and_the_file_over_defaults(tmp_path: Path) -> None:
    path = written(tmp_path, "[train]\nsteps = 5\nseed = 7\n" + GATE + CAMERA)
    config = load_config(path, {"train.steps": 9, "cameras.0.loop": True, "train.margin": None})
    assert (config.train.steps, config.train.seed, config.train.margin) == (9, 7, 0.2)
    assert config.cameras[0].loop is True


def test_a_file_that_is_not_there_is_an_error_but_only_if_it_was_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert load_config().instance == "line1"
    written(tmp_path, 'instance = "here"\n')
    assert load_config().instance == "here"
    with pytest.raises(ConfigError, match="no such config file"):
        load_config(tmp_path / "other.toml")


def test_a_setting_of_a_camera_that_is_not_there_is_refused() -> None:
    with pytest.raises(ConfigError, match="there is no such setting"):
        load_config(None, {"cameras.0.loop.x": True, "cameras.0": 1})
