"""Any camera with a GenTL producer, through harvesters (extra `senbetsu[genicam]`).

What harvesters leaves to its user is done here: it tells nobody that a camera vanished (its issues 431 and 272), so the
camera is asked; it loses a buffer when reading an incomplete one's chunks fails (214), so chunks are read only while the
buffer is held; and its `update` breaks the other cameras of the process (475), so a rescan asks the one interface.
"""

import contextlib
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from senbetsu.camera.features import FeatureError, Nodes
from senbetsu.camera.genapi import GenApiNodes, first_line
from senbetsu.camera.industrial import Delivery
from senbetsu.camera.interface import CameraFault
from senbetsu.camera.pixels import CONVERSIONS, to_bgr
from senbetsu.config import CameraSection
from senbetsu.errors import UserError

SIMULATED_VENDORS = frozenset({"Machine Vision Games Ltd."})
"""Of the simulated producer that comes with the package genicam."""
RESCAN_MS = 1000
EVENT_WAIT_MS = 5
"""harvesters looks at its own time-out this often."""


def connect(section: CameraSection) -> "GenTLDevice":
    """The camera of this serial number, user-defined name or id.

    Raises:
        UserError: harvesters is not installed, or the producer is not a file that it can load.
        CameraFault: no such camera is here now, or it is in use.
    """
    try:
        import genicam.gentl
        import harvesters.core
    except ImportError as error:
        raise UserError(
            f"cameras.{section.name}.kind = 'genicam': harvesters is not installed; pip install 'senbetsu[genicam]'"
        ) from error
    assert section.producer is not None
    where = f"cameras.{section.name}.producer = {str(section.producer)!r}"
    try:
        # It measures its time-outs by the wall clock, which may be set back while it waits.
        harvesters.core.time = SimpleNamespace(time=time.monotonic, sleep=time.sleep)
        producer = _producer(section.producer, where, harvesters.core.Harvester)
        return producer.connect(section)
    except genicam.gentl.GenericException as error:
        raise CameraFault(f"camera {section.name}: the producer cannot open it: {first_line(error)}") from error


class Producer:
    """One loaded .cti file. A process can load it once, so that its cameras share it."""

    def __init__(self, path: Path, harvester: Any) -> None:
        self.path = path
        self._harvester = harvester
        self._lock = threading.Lock()
        self._open = 0

    def connect(self, section: CameraSection) -> "GenTLDevice":
        """See `connect`."""
        with self._lock:
            info = self._find(section.source)
            if info is None and self._open == 0:
                self._harvester.update()
                info = self._find(section.source)
            if info is None:
                self._rescan()
                info = self._find(section.source)
            if info is None:
                here = ", ".join(_names(known)[0] for known in self._harvester.device_info_list) or "none"
                raise CameraFault(
                    f"cameras.{section.name}.source = {section.source!r}: {self.path.name} knows no camera of that serial "
                    f"number, name or id; here are: {here}; check cable, power and network"
                )
            try:
                device = GenTLDevice(self, self._harvester, info)
            except BaseException:
                self._look_again(info)
                raise
            self._open += 1
            return device

    def _find(self, source: str) -> Any:
        return next((info for info in self._harvester.device_info_list if source in _names(info)), None)

    def _rescan(self) -> None:
        known = self._harvester.device_info_list
        for interface in {id(info.parent): info.parent for info in known}.values():
            known.extend(info for info in _seen(interface) if _names(info) not in [_names(other) for other in known])

    def _look_again(self, info: Any) -> None:
        """What is known of a camera that cannot be opened may be of before it was unplugged; its interface stays known."""
        known = self._harvester.device_info_list
        for fresh in _seen(info.parent):
            if _names(fresh) == _names(info):
                known[next(i for i, other in enumerate(known) if other is info)] = fresh
                return

    def closed(self) -> None:
        """One of its cameras was."""
        with self._lock:
            self._open -= 1


_producers: dict[Path, Producer] = {}
_loading = threading.Lock()


def _producer(path: Path, where: str, harvester_of: Any) -> Producer:
    with _loading:
        resolved = path.resolve()
        if resolved not in _producers:
            if not resolved.is_file():
                raise UserError(f"{where}: there is no such file; give the path of the camera maker's *.cti")
            harvester = harvester_of()
            try:
                harvester.add_file(str(resolved), check_existence=True, check_validity=True)
            except (OSError, FileNotFoundError) as error:
                raise UserError(f"{where}: not a GenTL producer that this machine can load: {error}") from error
            harvester.update()
            _producers[resolved] = Producer(resolved, harvester)
        return _producers[resolved]


def _seen(interface: Any) -> list[Any]:
    """What is on it now."""
    from harvesters.core import DeviceInfo

    interface.module.update_device_info_list(RESCAN_MS)
    return [DeviceInfo(module=module, parent=interface) for module in interface.module.device_info_list]


def _names(info: Any) -> tuple[str, ...]:
    return tuple(
        str(name)
        for attribute in ("serial_number", "user_defined_name", "id_")
        if (name := info.property_dict.get(attribute))
    )


class GenTLDevice:
    """See senbetsu.camera.industrial.Device."""

    first_number = 1

    def __init__(self, producer: Producer, harvester: Any, info: Any) -> None:
        import genicam.genapi
        import genicam.gentl
        from harvesters.core import ParameterKey, ParameterSet

        self._errors = (genicam.gentl.GenericException, genicam.genapi.GenericException)
        self._timeout = genicam.gentl.TimeoutException
        self._producer = producer
        self.simulated = info.property_dict.get("vendor") in SIMULATED_VENDORS
        chunks_by_hand = ParameterSet({ParameterKey.ENABLE_AUTO_CHUNK_DATA_UPDATE: False})
        index = next(i for i, known in enumerate(harvester.device_info_list) if known is info)
        self._acquirer = harvester.create(index, config=chunks_by_hand)
        self._acquirer.timeout_period_on_update_event_data_call = EVENT_WAIT_MS
        self._incomplete = 0
        self._acquirer.add_callback(self._acquirer.Events.INCOMPLETE_BUFFER, _Counted(self))
        self.nodes: Nodes = GenApiNodes(self._acquirer.remote_device.node_map, self._errors)
        self.tick_hz = 1_000_000_000
        self._running = False

    @contextlib.contextmanager
    def _asking(self) -> Iterator[None]:
        try:
            yield
        except self._errors as error:
            raise CameraFault(f"GenTL: {first_line(error)}") from error

    def start(self, buffers: int) -> None:
        with self._asking():
            self._acquirer.num_buffers = max(buffers, self._acquirer.min_num_buffers)
            self._acquirer.start()
        self._running = True
        self._has_chunks = self.nodes.has("ChunkCounterValue")

    def stop(self) -> None:
        self._running = False
        with self._asking():
            self._acquirer.stop()

    def fire(self, timeout_s: float) -> bool:  # noqa: ARG002  (the protocol)
        """At once: the standard has no way to wait for readiness that all cameras have."""
        with self._asking():
            self._acquirer.remote_device.node_map.TriggerSoftware.execute()
        return True

    def incomplete_came(self) -> None:
        """harvesters has put an incomplete buffer back."""
        self._incomplete += 1

    def fetch(self, timeout_s: float) -> Delivery | None:
        before = self._incomplete
        with self._asking():
            # Zero would mean for ever.
            buffer = self._acquirer.try_fetch(timeout=max(timeout_s, EVENT_WAIT_MS / 1000))
        if buffer is None:
            if self._incomplete > before:
                return Delivery(None, None, None, "the buffer came incomplete", None)
            return None
        try:
            return self._delivery(buffer)
        finally:
            # Whatever became of it, it goes back: a buffer that is kept is one less for the camera, for ever.
            with self._asking():
                buffer.queue()

    def _delivery(self, buffer: Any) -> Delivery:
        number = self._told(lambda: int(buffer.module.frame_id))
        ticks = self._told(lambda: int(buffer.module.timestamp_ns))
        trigger_id = None
        if self._has_chunks:
            with contextlib.suppress(*self._errors, FeatureError):
                buffer.update_chunk_data()
                trigger_id = int(self.nodes.get("ChunkCounterValue"))
        component = next((part for part in buffer.payload.components if part is not None), None)
        if component is None:
            return Delivery(number, ticks, None, "the buffer holds no picture that can be read", trigger_id)
        try:
            pixel_format = str(component.data_format)
            if pixel_format not in CONVERSIONS:
                raise ValueError(f"pixel format {pixel_format} is not one of {', '.join(CONVERSIONS)}")
            pixels = np.asarray(component.data).view(np.uint8)
            image = to_bgr(pixels, int(component.width), int(component.height), pixel_format)
        except (ValueError, *self._errors) as error:
            return Delivery(number, ticks, None, first_line(error), trigger_id)
        return Delivery(number, ticks, image, None, trigger_id)

    def _told(self, read: Any) -> int | None:
        try:
            return int(read())
        except self._errors:
            return None

    def alive(self) -> bool:
        """The producer's word on it, where it has one, and a register of the camera past all caches."""
        from genicam import gentl

        with self._asking():
            status = None
            with contextlib.suppress(*self._errors):
                status = self._acquirer.device.access_status
            known = gentl.DEVICE_ACCESS_STATUS_LIST
            if status in (known.DEVICE_ACCESS_STATUS_NOACCESS, known.DEVICE_ACCESS_STATUS_UNKNOWN):
                raise CameraFault(f"GenTL: the producer says that the camera is not there (access status {status})")
            self._acquirer.remote_device.node_map.Width.node.invalidate_node()
        self.nodes.get("Width")
        return True

    def close(self) -> None:
        with contextlib.suppress(*self._errors):
            self._acquirer.destroy()
        self._producer.closed()


class _Counted:
    """harvesters' callback, by duck typing: its base class is only there with the extra."""

    def __init__(self, device: GenTLDevice) -> None:
        self._device = device

    def emit(self, context: object = None) -> None:  # noqa: ARG002  (harvesters calls it so)
        self._device.incomplete_came()
