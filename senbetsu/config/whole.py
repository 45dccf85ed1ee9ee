"""The whole file, and what must agree between its tables; and the recipe.toml of one product."""

from pathlib import Path
from typing import Annotated, Self

from pydantic import Field, model_validator

from senbetsu.config.bridge import BridgeSection
from senbetsu.config.cameras import CameraSection
from senbetsu.config.line import DaemonSection, GateSection, JournalSection, RealtimeSection, SecuritySection
from senbetsu.config.model import CalibrateSection, EngineSection, ModelSection, TrainSection
from senbetsu.config.section import Name, Section
from senbetsu.messages import MAX_ITEMS


class RecipeFile(Section):
    """`recipe.toml` in a folder of artefacts: what differs from the config file for that product."""

    recipe: Annotated[int, Field(ge=1, le=65535)]
    """Number by which the PLC knows it."""
    model: ModelSection = ModelSection()
    train: TrainSection = TrainSection()
    calibrate: CalibrateSection = CalibrateSection()


class Config(Section):
    """All settings."""

    instance: Name = "line1"
    """Name of this line in messages and metrics."""
    artifacts: Path = Path("artifacts")
    """Folder of embedding.* and profile.*."""
    recipe: Annotated[int, Field(ge=1, le=65535)] = 1
    """Number by which the PLC knows what is inspected; a recipe.toml in the folder of artefacts has its own."""
    recipes_dir: Path = Path("recipes")
    """Folder of recipes: each a folder with a recipe.toml and the artefacts of one product."""
    model: ModelSection = ModelSection()
    engine: EngineSection = EngineSection()
    train: TrainSection = TrainSection()
    calibrate: CalibrateSection = CalibrateSection()
    cameras: tuple[CameraSection, ...] = ()
    gates: tuple[GateSection, ...] = ()
    daemon: DaemonSection = DaemonSection()
    realtime: RealtimeSection = RealtimeSection()
    bridge: BridgeSection = BridgeSection()
    journal: JournalSection = JournalSection()
    security: SecuritySection = SecuritySection()

    @model_validator(mode="after")
    def _names_are_unique_and_known(self) -> Self:
        unique: dict[str, list[str | int]] = {
            "cameras.name": [camera.name for camera in self.cameras],
            "gates.name": [gate.name for gate in self.gates],
            "gates.unit_id": [gate.unit_id for gate in self.gates],
        }
        for what, names in unique.items():
            twice = {name for name in names if names.count(name) > 1}
            if twice:
                raise ValueError(f"{what}: {min(twice, key=str)!r} is used twice; each needs its own")
        gates = {gate.name: gate for gate in self.gates}
        if self.bridge.client.gate is not None and self.bridge.client.gate not in gates:
            raise ValueError(
                f"bridge.client.gate: {self.bridge.client.gate!r} is not a gate; gates are {', '.join(gates)}"
            )
        looks = dict.fromkeys(gates, 0)
        for camera in self.cameras:
            if camera.gate not in gates:
                raise ValueError(
                    f"cameras.{camera.name}.gate: {camera.gate!r} is not a gate; gates are {', '.join(gates) or '(none)'}"
                )
            if camera.items != gates[camera.gate].items:
                raise ValueError(
                    f"gates.{camera.gate}.items = {gates[camera.gate].items}, but camera {camera.name!r} has "
                    f"{camera.items} (its regions, or the whole frame); make them equal"
                )
            if camera.trigger == "hardware" and 2 * camera.window_ms >= gates[camera.gate].least_spacing_ms:
                raise ValueError(
                    f"cameras.{camera.name}.window_ms = {camera.window_ms:g} has to be shorter than half of "
                    f"gates.{camera.gate}.least_spacing_ms = {gates[camera.gate].least_spacing_ms:g}: a longer window "
                    "could hold two parts"
                )
            looks[camera.gate] += gates[camera.gate].items
            if looks[camera.gate] > MAX_ITEMS:
                raise ValueError(f"gates.{camera.gate}: more than {MAX_ITEMS} looks a part (cameras x items)")
        return self

    def gate(self, name: str) -> GateSection:
        """The gate of that name. Raises KeyError."""
        for gate in self.gates:
            if gate.name == name:
                return gate
        raise KeyError(name)

    def cameras_of(self, gate: str) -> tuple[CameraSection, ...]:
        """The cameras whose looks make the verdict at a gate, in the file's order."""
        return tuple(camera for camera in self.cameras if camera.gate == gate)
