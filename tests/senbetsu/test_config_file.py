"""The shipped config.toml names every setting, and is honest about the defaults."""

import re
import tomllib
from pathlib import Path
from types import NoneType
from typing import get_args

from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from senbetsu.config import Config, load_config

FILE = Path(__file__).parents[2] / "config.toml"
Place = tuple[str, ...]


def settings_of(model: type[BaseModel], above: Place = ()) -> dict[Place, object]:
    """Dotted place of every leaf setting -> its default."""
    found: dict[Place, object] = {}
    for name, field in model.model_fields.items():
        kinds = [kind for kind in (field.annotation, *get_args(field.annotation)) if isinstance(kind, type)]
        section = next((kind for kind in kinds if issubclass(kind, BaseModel)), None)
        if section is None:
            default = field.get_default(call_default_factory=True)
            found[*above, name] = str(default) if isinstance(default, Path) else default
            if isinstance(default, tuple):
                found[*above, name] = list(default)  # as TOML has it
        else:
            found |= settings_of(section, (*above, name))
    return found


def documented() -> dict[Place, tuple[bool, object, str]]:
    """Place -> (commented out, value, comment) as the text shows them, comment lines that go on included."""
    found: dict[Place, tuple[bool, object, str]] = {}
    section: Place = ()
    section_is_out = False
    last: Place | None = None
    for line in FILE.read_text(encoding="utf-8").splitlines():
        if header := re.match(r"(# )?\[+([a-z.]+)\]+", line):
            section, section_is_out, last = tuple(header[2].split(".")), header[1] is not None, None
        elif setting := re.match(r"(# )?([a-z_]+) = (\"[^\"]*\"|[^\s#]+)\s*(#.*)?$", line):
            last = (*section, setting[2])
            found[last] = (
                setting[1] is not None and not section_is_out,
                tomllib.loads(f"v = {setting[3]}")["v"],
                setting[4] or "",
            )
        elif last is not None and re.match(r"\s+#", line):
            out, value, comment = found[last]
            found[last] = (out, value, f"{comment} {line.strip().lstrip('# ')}")
        else:
            last = None
    return found


SETTINGS = settings_of(Config)


def test_the_shipped_file_is_valid_and_right_for_the_demo() -> None:
    config = load_config(FILE)
    assert [(c.name, c.kind, c.source, c.trigger) for c in config.cameras] == [
        ("cam1", "folder", "demo/parts", "software")
    ]
    assert [(g.name, g.allow_simulated) for g in config.gates] == [("gate1", True)]


def test_it_names_every_setting_and_no_other() -> None:
    assert set(documented()) == set(SETTINGS)


def test_a_value_is_the_default_or_its_comment_says_what_the_default_is() -> None:
    needed = {place for place, default in SETTINGS.items() if default is PydanticUndefined}
    for place, (_, value, comment) in documented().items():
        if place in needed or SETTINGS[place] is None or value == SETTINGS[place]:
            continue
        said = re.search(r"the default is (\S+?)[.,;:]?(\s|$)", comment)
        assert said is not None, f"{'.'.join(place)} = {value}: not the default, and the comment does not say what is"
        assert tomllib.loads(f"v = {said[1]}")["v"] == SETTINGS[place]


def test_what_has_no_default_is_shown_commented_out() -> None:
    whole = {
        tuple(name.split("."))
        for name in re.findall(r"^# \[+([a-z.]+)\]+", FILE.read_text(encoding="utf-8"), re.MULTILINE)
    }  # A table that is optional is commented out whole.
    none = {place for place, default in SETTINGS.items() if default is None and place[:-1] not in whole}
    assert {place for place, (out, _, _) in documented().items() if out} == none
    assert NoneType not in {type(value) for _, value, _ in documented().values()}
