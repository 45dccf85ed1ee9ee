"""Every setting, its type, unit, default and range; read from one TOML file.

Settings come from a program's flags, else from the recipe.toml beside the artefacts, which says what is otherwise for that
product, else from the file named by `--config`, else from `config.toml` in the working directory, else from the defaults
here. An unknown key is refused: a misspelt setting must not silently do nothing.
"""

import copy
import tomllib
from dataclasses import dataclass
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from senbetsu.errors import ConfigError
from senbetsu.messages import MAX_ITEMS

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,32}$")]
Endpoint = Annotated[str, Field(pattern=r"^tcp://(\[[0-9a-fA-F:]+\]|[^:/\s]+):[0-9]{1,5}$")]
Port = Annotated[int, Field(ge=0, le=65535)]


def _network(text: str) -> str:
    try:
        ip_network(text)
    except ValueError as error:
        raise ValueError(f"expected an address or a network such as 192.168.1.0/24: {error}") from None
    return text


Network = Annotated[str, AfterValidator(_network)]

MIN_INPUT_SIZE = 128
"""A network that reduces the picture 32 times leaves 4 x 4 places of it."""
DEFAULT_CONFIG = Path("config.toml")
RECIPE_FILE = "recipe.toml"


class Section(BaseModel):
    """A table of the file: closed (unknown keys refused) and frozen."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, use_attribute_docstrings=True)


class ModelSection(Section):
    """Which backbone looks at the parts."""

    backbone: Annotated[str, Field(min_length=1)] | None = None
    """Name of the frozen feature network: efficientnet_lite0, 1 or 2, or a model of timm. Left out: efficientnet_lite0 to
    train with, and whatever was trained with from then on."""
    weights: Path | None = None
    """File of its weights; only for a model of timm."""
    input_size: Annotated[int, Field(ge=0, le=1024)] = 0
    """Side of the square picture that the network sees, in pixels; 0: the backbone's own."""

    @field_validator("input_size")
    @classmethod
    def _large_enough(cls, value: int) -> int:
        if 0 < value < MIN_INPUT_SIZE:
            raise ValueError(f"must be 0 (the backbone's own) or at least {MIN_INPUT_SIZE}")
        return value


class EngineSection(Section):
    """What computes the scores. A profile is bound to the engine and precision that it was calibrated on."""

    kind: Literal["auto", "openvino", "torch"] = "auto"
    """auto: torch where there is a CUDA device, else openvino."""
    precision: Literal["auto", "fp32", "bf16", "fp16", "int8"] = "auto"
    """auto: bf16 in openvino on a CPU that has it, fp16 in torch on CUDA, else fp32. int8: openvino, the backbone in 8-bit
    integers; `calibrate` makes them, which takes pip install 'senbetsu[int8]'."""
    device: Annotated[str, Field(pattern=r"^(auto|cpu|cuda(:[0-9]+)?)$")] = "auto"
    """torch only."""
    threads: Annotated[int, Field(ge=0, le=1024)] = 0
    """CPU threads; 0: all cores."""
    max_batch: Annotated[int, Field(ge=1, le=256)] = 8
    """Most parts in one batch. Batches are padded to 1, 2, 4, 8, ... up to this."""


class TrainSection(Section):
    """How the embedding is learned."""

    seed: Annotated[int, Field(ge=0, le=2**31 - 1)] = 0
    steps: Annotated[int, Field(ge=1, le=1_000_000)] = 600
    """Gradient steps."""
    loss: Literal["triplet", "soft_margin", "quadruplet", "quadruplet_chen"] = "triplet"
    """soft_margin has no margin; a quadruplet takes two labels beside the normals'. quadruplet: the slides' form;
    quadruplet_chen: that of Chen et al. 2017."""
    selection: Literal["semihard", "all", "hard", "batch_hard", "slide"] = "semihard"
    """Which triplets of a batch are learned from. semihard is FaceNet's rule; docs/losses.md shows what each does."""
    margin: Annotated[float, Field(gt=0, le=4)] = 0.2
    """Margin alpha of the triplet loss, in squared L2 distance of unit vectors; also bounds what is semi-hard."""
    second_margin: Annotated[float, Field(gt=0, le=4)] = 0.1
    """quadruplet_chen only: beta, by which two unlike images lie farther apart than two alike; smaller than margin."""
    labels_per_batch: Annotated[int, Field(ge=2, le=256)] = 8
    """P of P x K batches (or as many as there are)."""
    images_per_label: Annotated[int, Field(ge=2, le=256)] = 32
    """K of P x K batches."""
    learning_rate: Annotated[float, Field(gt=0, le=1)] = 1e-3
    weight_decay: Annotated[float, Field(ge=0, le=10)] = 1e-2
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.25
    """Share of the statistics that is hidden from the head at each step."""
    folds: Annotated[int, Field(ge=2, le=20)] = 5
    """Parts that judge what was learned are left out of learning, one fold after the other."""
    judge_pictures: Annotated[int, Field(ge=0, le=100_000)] = 270
    """Copies of normal parts, damaged on purpose, that judge which statistic sees damage best; 0: all weigh the same."""
    teach_damage: bool = False
    """depth head: these copies teach as well, as one more label beside the real kinds of defect. A quadruplet loss with one
    real kind of defect needs it."""
    depth: Literal["head", "blocks", "all"] = "head"
    """What is learned: a head on the frozen features, or the backbone's last blocks or all of it together with the head."""
    tuned_blocks: Annotated[int, Field(ge=1, le=64)] = 2
    """depth blocks: how many of the backbone's last stages (those whose maps are used) are learned."""
    tune_steps: Annotated[int, Field(ge=1, le=1_000_000)] = 200
    """depth blocks and all: gradient steps, after the head's own."""
    tune_learning_rate: Annotated[float, Field(gt=0, le=1)] = 1e-4
    """depth blocks and all: of the backbone. The head goes on with a tenth of learning_rate."""
    tune_images_per_label: Annotated[int, Field(ge=2, le=256)] = 8
    """depth blocks and all: K of P x K batches; every picture of a batch goes through the backbone."""
    augment_flips: bool = True
    """depth blocks and all: mirror pictures, both ways. false where the orientation of a part matters."""
    augment_shift: Annotated[float, Field(ge=0, lt=0.5)] = 0.02
    """depth blocks and all: shift pictures by up to this share of their side, each way."""
    augment_light: Annotated[float, Field(ge=0, lt=1)] = 0.1
    """depth blocks and all: make pictures brighter or darker by up to this share."""
    tensorboard: Path | None = None
    """Folder for TensorBoard, which has to be installed: pip install 'senbetsu[tensorboard]'."""

    @model_validator(mode="after")
    def _the_second_margin_is_the_smaller(self) -> Self:
        if self.loss == "quadruplet_chen" and self.second_margin >= self.margin:
            raise ValueError(
                f"second_margin = {self.second_margin} has to be smaller than margin = {self.margin}: the anchor's own "
                "negative comes first"
            )
        return self


class CalibrateSection(Section):
    """What the threshold promises. Leave both out to get 1 % expected, or the tightest that the parts support."""

    false_reject_rate: Annotated[float, Field(gt=0, lt=1)] | None = None
    """Promise: the share of good parts that is rejected. A promise that the parts do not support is refused."""
    confidence: Annotated[float, Field(gt=0, lt=1)] | None = None
    """Makes the promise a bound that holds with this confidence; without it the promise is the expected rate."""
    contamination: Annotated[float, Field(ge=0, lt=0.5)] = 0.0
    """Up to this share of the normal pictures may be bad. The least normal ones, so many, neither move centroid and whitening
    nor set the threshold; the claim counts them as good parts that are rejected."""
    group: Annotated[str, Field(min_length=1)] | None = None
    """What tells lots apart: a regular expression on paths, a CSV of path,lot, or gap:MINUTES. Lots are held out whole."""

    @model_validator(mode="after")
    def _confidence_needs_a_rate(self) -> Self:
        if self.confidence is not None and self.false_reject_rate is None:
            raise ValueError("confidence needs false_reject_rate: it says with what confidence that rate is kept")
        return self


class RegionSection(Section):
    """One item of a frame: a rectangle of it, in pixels."""

    x: Annotated[int, Field(ge=0, le=65535)]
    """Left edge, from the frame's left."""
    y: Annotated[int, Field(ge=0, le=65535)]
    """Upper edge, from the frame's top."""
    width: Annotated[int, Field(ge=8, le=65535)]
    height: Annotated[int, Field(ge=8, le=65535)]


class BeltSection(Section):
    """Parts that move through the picture: each is found, followed, and judged once, where it is seen best."""

    width: Annotated[int, Field(ge=8, le=65535)] = 256
    """Of the picture that is cut out around a part, pixels; a part that is larger is rejected."""
    height: Annotated[int, Field(ge=8, le=65535)] = 256
    difference: Annotated[int, Field(ge=1, le=255)] = 60
    """Grey levels by which a part differs from the empty belt, in the colour where it differs most."""
    least_area: Annotated[int, Field(ge=1, le=100_000_000)] = 2000
    """Square pixels; what is smaller is dirt, not a part."""
    within: tuple[int, int, int, int] | None = None
    """Part of the frame where parts are looked for: x, y, width, height in pixels. Left out: all of it."""
    background: Path | None = None
    """Picture of the empty belt, a whole frame. Left out: it is learned from the first frames, so start with an empty belt."""


class CameraSection(Section):
    """One camera."""

    name: Name
    kind: Literal["folder", "pattern", "opencv", "pylon", "genicam"]
    """folder: replays pictures or a video; its results are marked simulated. opencv: V4L2 device, RTSP, or video file.
    pylon: Basler, takes senbetsu[pylon]. genicam: any camera with a GenTL producer, takes senbetsu[genicam].
    pattern: noise pictures from memory, to measure with."""
    source: Annotated[str, Field(min_length=1)]
    """folder: path of a folder, picture or video. opencv: device number, device path, URL or file. pylon, genicam: serial
    number or user-defined name. pattern: size of the pictures, 1024x1024."""
    gate: Name
    trigger: Literal["software", "hardware", "free_run"] = "software"
    """software: a frame is taken for each trigger request. hardware: the PLC's pulse goes to the camera too. free_run:
    every frame is judged; no gate opens by it."""
    producer: Path | None = None
    """genicam: the camera maker's GenTL producer, a file that ends in .cti."""
    trigger_line: Annotated[str, Field(min_length=1)] = "Line1"
    """hardware: the camera's input that the pulse comes to."""
    trigger_edge: Literal["rising", "falling"] = "rising"
    """hardware: which edge of the pulse exposes."""
    window_ms: Annotated[float, Field(gt=0, le=10_000)] = 20.0
    """hardware: a pulse's frame and the PLC's count of it come within this of each other."""
    exposure_us: Annotated[float, Field(gt=0, le=60_000_000)] | None = None
    """pylon, genicam: exposure time. Left out, as the other settings: what the camera is set to."""
    gain_db: Annotated[float, Field(ge=-60, le=100)] | None = None
    """pylon, genicam."""
    roi: tuple[int, int, int, int] | None = None
    """pylon, genicam: part of the sensor that is read: x, y, width, height in pixels."""
    pixel_format: Annotated[str, Field(min_length=1)] | None = None
    """pylon, genicam: Mono8, BayerRG8, BGR8, ...; Bayer and RGB are made BGR."""
    rate_hz: Annotated[float, Field(gt=0, le=10_000)] | None = None
    """Free run: frames a second. folder: 10 if left out; pylon, genicam: what the camera is set to; opencv: not used."""
    loop: bool = False
    """folder: begin again at the end."""
    buffer_frames: Annotated[int, Field(ge=2, le=1024)] = 16
    """Frames that may wait to be judged; a part beyond them is REJECT/OVERLOAD."""
    silent_ms: Annotated[float, Field(gt=0, le=600_000)] = 1500.0
    """A camera that delivers no frame (and answers no control read) for this long is in fault."""
    frozen_ms: Annotated[float, Field(ge=0, le=600_000)] | None = None
    """A camera that gives the very same picture for this long is in fault; 0: never. Left out: 1000, and 0 for files and
    network streams, which may repeat a still picture to the last bit."""
    regions: tuple[RegionSection, ...] = ()
    """Several parts, or views of one, in a frame: each region is one item. None: the whole frame is one."""
    belt: BeltSection | None = None
    """Free run: parts that move through the picture."""

    @model_validator(mode="after")
    def _settings_go_together(self) -> Self:
        if self.kind == "genicam" and self.producer is None:
            raise ValueError("kind = 'genicam' needs producer: the path of the camera maker's GenTL producer (*.cti)")
        if self.trigger == "hardware" and self.kind not in ("pylon", "genicam"):
            raise ValueError(f"trigger = 'hardware' needs a camera with a trigger input, not kind = {self.kind!r}")
        if self.roi is not None and (min(self.roi) < 0 or min(self.roi[2:]) < 8):
            raise ValueError(f"roi = {list(self.roi)}: x, y >= 0 and width, height >= 8 pixels")
        within = None if self.belt is None else self.belt.within
        if within is not None and (min(within) < 0 or min(within[2:]) < 8):
            raise ValueError(f"belt.within = {list(within)}: x, y >= 0 and width, height >= 8 pixels")
        if self.belt is not None and (self.trigger != "free_run" or self.regions):
            raise ValueError("belt finds its own parts: it takes trigger = 'free_run' and no regions")
        return self

    @property
    def items(self) -> int:
        """How many items a frame holds."""
        return max(1, len(self.regions))


class GateSection(Section):
    """One gate: the place where a PLC lets a part through or not."""

    name: Name
    unit_id: Annotated[int, Field(ge=1, le=247)] = 1
    """Modbus unit id of the gate's table."""
    deadline_ms: Annotated[float, Field(gt=0, le=60_000)] = 100.0
    """From trigger to verdict, unless the PLC names another with the trigger."""
    items: Annotated[int, Field(ge=1, le=MAX_ITEMS)] = 1
    """Items a frame holds; every one is a look that must pass. As many as each of its cameras has regions."""
    least_spacing_ms: Annotated[float, Field(gt=0, le=60_000)] = 50.0
    """Hardware trigger: no two parts come closer than this."""
    allow_simulated: bool = False
    """Let simulated parts pass, where the PLC's control bit allows it too."""


class DaemonSection(Section):
    """The program that looks."""

    publish: Endpoint = "tcp://127.0.0.1:5556"
    """PUB socket of results, heartbeats and states."""
    request: Endpoint = "tcp://127.0.0.1:5557"
    """ROUTER socket of triggers, replay, acknowledgement and state."""
    metrics_host: str = "127.0.0.1"
    metrics_port: Port = 9750
    """Prometheus; 0: any free port."""
    heartbeat_ms: Annotated[float, Field(ge=10, le=400)] = 100.0
    replay_results: Annotated[int, Field(ge=16, le=10_000_000)] = 65_536
    """Newest results kept for replay."""
    batch_wait_ms: Annotated[float, Field(ge=0, le=1000)] = 0.0
    """Longest that a part waits for company in its batch; 0: a batch is whatever waits when the engine is free."""
    engine_check_ms: Annotated[float, Field(ge=50, le=1000)] = 500.0
    """When no part came for this long, the engine judges a stored frame whose score is known."""
    engine_stall_ms: Annotated[float, Field(gt=0, le=600_000)] = 2000.0
    """An engine that is busy with one batch for longer is in fault."""
    drift_window: Annotated[int, Field(ge=50, le=100_000)] = 250
    """Passed parts of the shortest window that is compared with the calibration's scores; others are 2 to 64 times as long."""
    drift_false_alarm_parts: Annotated[int, Field(ge=1000, le=10**9)] = 1_000_000
    """On average so many parts between two false alarms of drift."""


class OpcUaSection(Section):
    """The bridge as an OPC UA server; it takes pip install 'senbetsu[opcua]'."""

    enabled: bool = False
    host: str = "127.0.0.1"
    """Address that clients connect to. Any but this PC's own takes certificate, private_key and trusted."""
    port: Port = 4840
    certificate: Path | None = None
    """The server's own, PEM or DER. With it only encrypted and signed channels are offered."""
    private_key: Path | None = None
    """The certificate's, PEM."""
    trusted: Path | None = None
    """Folder of the certificates of the clients that may connect."""
    user: Annotated[str, Field(min_length=1)] | None = None
    """A user who has to log in beside that; takes a certificate, so that the password goes encrypted."""
    password_file: Path | None = None
    """File that holds the user's password."""


class PlcClientSection(Section):
    """The bridge as a client that writes one gate's table into a PLC and reads the PLC's words there."""

    protocol: Literal["off", "modbus", "s7"] = "off"
    """modbus: Modbus TCP, holding registers. s7: Siemens S7, a data block; takes pip install 'senbetsu[s7]'."""
    gate: Name | None = None
    """Which gate; left out: the first."""
    host: str = "192.168.0.1"
    port: Port = 502
    """502 for Modbus TCP, 102 for S7."""
    unit_id: Annotated[int, Field(ge=0, le=255)] = 1
    """modbus: unit id of the PLC."""
    rack: Annotated[int, Field(ge=0, le=7)] = 0
    """s7."""
    slot: Annotated[int, Field(ge=0, le=31)] = 1
    """s7: 1 for S7-1200 and 1500, 2 for S7-300."""
    data_block: Annotated[int, Field(ge=1, le=65_535)] = 1
    """s7: number of the data block."""
    table_at: Annotated[int, Field(ge=0, le=65_000)] = 0
    """Word (holding register) in the PLC from which the 176 words of the table are written."""
    plc_at: Annotated[int, Field(ge=0, le=65_000)] = 176
    """Word (holding register) in the PLC from which its own 12 words are read."""
    cycle_ms: Annotated[float, Field(ge=1, le=1000)] = 5.0
    """Pause between two rounds of reading and writing."""

    @model_validator(mode="after")
    def _areas_are_apart(self) -> Self:
        if self.table_at < self.plc_at + 12 and self.plc_at < self.table_at + 176:
            raise ValueError(
                f"plc_at = {self.plc_at} lies within the table ({self.table_at} to {self.table_at + 175}); the PLC's 12 words "
                "need a place of their own"
            )
        return self


class DigitalSection(Section):
    """A line without a PLC: sensor and gate on a GPIO chip; it takes pip install 'senbetsu[gpio]'."""

    chip: Path | None = None
    """Device of the GPIO chip, /dev/gpiochip0; left out: off."""
    gate: Name | None = None
    """Which gate; left out: the first."""
    sensor_line: Annotated[int, Field(ge=0, le=1023)] = 0
    """Input: a rising edge is a part."""
    gate_line: Annotated[int, Field(ge=0, le=1023)] = 1
    """Output: on while a part that was proven good is at the gate; off is reject."""
    travel_ms: Annotated[float, Field(gt=0, le=600_000)] = 500.0
    """From the sensor to the gate; longer than the gate's deadline_ms."""
    pulse_ms: Annotated[float, Field(gt=0, le=60_000)] = 50.0
    """How long the output stays on; the next part at the gate ends it earlier."""
    late_ms: Annotated[float, Field(gt=0, le=60_000)] = 10.0
    """A part that has been at the gate for longer when the bridge looks stays rejected."""
    debounce_ms: Annotated[float, Field(ge=0, le=1000)] = 2.0
    allow_simulated: bool = False
    """Let simulated parts pass, where the gate allows it too."""


class BridgeSection(Section):
    """The program that talks to the PLC."""

    subscribe: Endpoint = "tcp://127.0.0.1:5556"
    request: Endpoint = "tcp://127.0.0.1:5557"
    modbus_host: str = "127.0.0.1"
    modbus_port: Port = 5020
    modbus_allowed: tuple[Network, ...] = ()
    """Addresses or networks of the clients that are let in; none: this PC alone. Needed for any modbus_host but 127.0.0.1."""
    modbus_clients: Annotated[int, Field(ge=1, le=256)] = 8
    """Most connections at once. One more takes the place of whoever was silent for the longest, but not of a live writer."""
    modbus_idle_ms: Annotated[float, Field(ge=1000, le=3_600_000)] = 30_000.0
    """A client without a whole request for this long is disconnected."""
    metrics_host: str = "127.0.0.1"
    metrics_port: Port = 9751
    """Prometheus; 0: any free port."""
    state_dir: Path = Path("var")
    """Keeps the run number over restarts."""
    daemon_silent_ms: Annotated[float, Field(ge=100, le=60_000)] = 500.0
    """No heartbeat of the daemon for this long: parts are rejected, reason LINK."""
    plc_silent_ms: Annotated[float, Field(ge=100, le=60_000)] = 1000.0
    """The PLC's heartbeat unchanged for this long: HELD, triggers refused."""
    opcua: OpcUaSection = OpcUaSection()
    client: PlcClientSection = PlcClientSection()
    digital: DigitalSection = DigitalSection()


class JournalSection(Section):
    """The bridge's record of every result and every decision, in an SQLite file."""

    enabled: bool = True
    file: Path | None = None
    """The record; two files beside it belong to it. Left out: journal.sqlite in bridge.state_dir."""
    batch_ms: Annotated[float, Field(ge=10, le=10_000)] = 250.0
    """Rows are written this often: what a killed bridge may lack."""
    queue_rows: Annotated[int, Field(ge=100, le=10_000_000)] = 50_000
    """Rows that wait while the disk is slow or full; those beyond are dropped, counted, and the gap is marked."""
    keep_days: Annotated[float, Field(gt=0, le=100_000)] = 90.0
    """Older rows are deleted, a few at a time."""
    max_mib: Annotated[float, Field(ge=1, le=10_000_000)] = 4096.0
    """Largest file, MiB (2^20 bytes): beyond it the oldest rows are deleted."""


class SecuritySection(Section):
    """Who may connect."""

    keys_dir: Path | None = None
    """Folder of CURVE keys, made by `senbetsu keys`; needed for any ZeroMQ address but this PC's own."""


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
