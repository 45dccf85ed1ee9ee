"""Every setting, its type, unit, default and range; read from one TOML file.

Settings come from a program's flags, else from the recipe.toml beside the artefacts, which says what is otherwise for that
product, else from the file named by `--config`, else from `config.toml` in the working directory, else from the defaults
here. An unknown key is refused: a misspelt setting must not silently do nothing.
"""

from senbetsu.config.bridge import BridgeSection, DigitalSection, OpcUaSection, PlcClientSection
from senbetsu.config.cameras import BeltSection, CameraSection, RegionSection
from senbetsu.config.line import DaemonSection, GateSection, JournalSection, RealtimeSection, SecuritySection
from senbetsu.config.model import MIN_INPUT_SIZE, CalibrateSection, EngineSection, ModelSection, TrainSection
from senbetsu.config.reading import DEFAULT_CONFIG, RECIPE_FILE, Settings, load_config, read_recipe, read_settings
from senbetsu.config.whole import Config, RecipeFile

__all__ = [
    "DEFAULT_CONFIG",
    "MIN_INPUT_SIZE",
    "RECIPE_FILE",
    "BeltSection",
    "BridgeSection",
    "CalibrateSection",
    "CameraSection",
    "Config",
    "DaemonSection",
    "DigitalSection",
    "EngineSection",
    "GateSection",
    "JournalSection",
    "ModelSection",
    "OpcUaSection",
    "PlcClientSection",
    "RealtimeSection",
    "RecipeFile",
    "RegionSection",
    "SecuritySection",
    "Settings",
    "TrainSection",
    "load_config",
    "read_recipe",
    "read_settings",
]
