"""One gate's nodes in the OPC UA server: variables from the register table, the two methods, the result event.

Which nodes there are, bridge/opcua.py says.
"""

import asyncio
from collections.abc import Mapping, Sequence
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any

from asyncua import Node, Server, ua
from asyncua.common.structures104 import new_struct, new_struct_field

from bridge.table import GateTable, WriteRefusedError
from senbetsu.registers import (
    COUNTERS,
    DETAIL_AT,
    DETAIL_WORDS,
    HEADER,
    HOLDING,
    HOLDING_COUNT,
    SLOT_AT,
    SLOT_WORDS,
    SLOTS,
    Flag,
    Register,
    SlotBit,
    join32,
    split32,
)
from senbetsu.states import State
from senbetsu.verdict import Reason

COMPLETED, FAILED = 1, 4
"""ResultStateDataType of OPC 40100-1."""
VISION_STATES: dict[State, tuple[int, str]] = {
    State.STARTING: (1, "Preoperational"),
    State.HELD: (2, "Halted"),
    State.SUSPENDED: (2, "Halted"),
    State.ABORTED: (3, "Error"),
    State.IDLE: (4, "Operational"),
    State.EXECUTE: (4, "Operational"),
}
"""Numbers and names of VisionStateMachineType in OPC 40100-1."""
TRIGGER_INPUTS = tuple(register for register in HOLDING if register.name != "spare")
ACKNOWLEDGE_INPUTS = tuple(
    register for register in HOLDING if register.name in ("acknowledged", "run_echo", "heartbeat", "gate_passed")
)
SEEN_PARTS = frozenset({Reason.OK, Reason.ANOMALY})

session: ContextVar[object] = ContextVar("session")
"""Whose call is being carried out."""


def title(name: str) -> str:
    """`part_id` -> `PartId`."""
    return "".join(word.capitalize() for word in name.split("_"))


def node_id(path: str, index: int) -> ua.NodeId:
    """A node's id is its path."""
    return ua.NodeId(ua.String(path), ua.Int16(index))


def kind(register: Register) -> ua.VariantType:
    """One word or two."""
    return ua.VariantType.UInt16 if register.words == 1 else ua.VariantType.UInt32


async def structure_types(server: Server, index: int) -> dict[str, Any]:
    """The structures, from the register table: name -> (class, node)."""
    slot_fields = [
        new_struct_field("Trigger", ua.VariantType.UInt16),
        new_struct_field("PartId", ua.VariantType.UInt32),
    ]
    slot_fields += [new_struct_field(bit, ua.VariantType.Boolean) for bit in ("Valid", "Pass", "Fail", "Simulated")]
    slot_fields += [
        new_struct_field(name, ua.VariantType.UInt16)
        for name in ("Reason", "GoodItems", "Run", "ScoreRatio", "Latency")
    ]
    slot_type, _ = await new_struct(server, index, "SlotDataType", slot_fields)
    header = [new_struct_field(title(register.name), kind(register)) for register in HEADER]
    window_type, _ = await new_struct(
        server, index, "WindowDataType", [*header, new_struct_field("Slots", slot_type, array=True)]
    )
    await server.load_data_type_definitions()  # makes the classes, once a process
    event = await server.create_custom_event_type(
        index, "ResultReadyEventType", ua.ObjectIds.BaseEventType,
        [
            ("IsPartial", ua.VariantType.Boolean), ("IsSimulated", ua.VariantType.Boolean),
            ("ResultState", ua.VariantType.Int32), ("PartId", ua.VariantType.String), ("ResultId", ua.VariantType.String),
            ("InternalRecipeId", ua.VariantType.String), ("CreationTime", ua.VariantType.DateTime),
            ("ResultContent", ua.VariantType.ExtensionObject, slot_type.nodeid),
        ],
    )  # fmt: skip
    return {
        "slot": (getattr(ua, "SlotDataType"), slot_type), "window": (getattr(ua, "WindowDataType"), window_type),  # noqa: B009
        "event": event,
    }  # fmt: skip


class GateNodes:
    """One gate's nodes."""

    def __init__(self, name: str, table: GateTable, index: int, types: Mapping[str, Any]) -> None:
        self._name, self._table, self._index, self._types = name, table, index, types
        self._nodes: dict[str, Node] = {}
        self._types_of: dict[str, ua.VariantType] = {}
        self._told: dict[str, Any] = {}
        self._words: list[int] = []
        """What `_told` was made of."""
        self._events: Any = None
        self._publishing = asyncio.Lock()  # or an older state could be written over a newer one

    async def build(self, server: Server, folder: Node) -> None:
        gate = await folder.add_object(self._id(), self._browse_name(self._name))
        self._words = self._table.image()
        values = self._values(self._words)
        for group in ("Header", "Counters", "Flags", "Slots"):
            await gate.add_folder(self._id(group), self._browse_name(group))
        machine = await gate.add_object(self._id("VisionStateMachine"), self._browse_name("VisionStateMachine"))
        for path, (value, variant_type) in values.items():
            *above, name = path.split(".")
            parent = server.get_node(self._id(".".join(above)))
            if path == "VisionStateMachine.CurrentState.Number":
                node = await parent.add_property(self._id(path), self._browse_name(name), value, variant_type)
            else:
                data_type = self._structure_of(path)
                node = await parent.add_variable(
                    self._id(path), self._browse_name(name), value, variant_type, datatype=data_type
                )
            self._nodes[path] = node
        assert machine is not None
        inputs = [_argument(register) for register in TRIGGER_INPUTS]
        await gate.add_method(self._id("Trigger"), self._browse_name("Trigger"), self._trigger, inputs, [])
        inputs = [_argument(register) for register in ACKNOWLEDGE_INPUTS]
        await gate.add_method(self._id("Acknowledge"), self._browse_name("Acknowledge"), self._acknowledge, inputs, [])
        self._events = await server.get_event_generator(self._types["event"], gate.nodeid)
        self._told = {path: value for path, (value, _) in values.items()}

    def _id(self, path: str = "") -> ua.NodeId:
        return node_id(f"{self._name}.{path}" if path else self._name, self._index)

    def _browse_name(self, name: str) -> ua.QualifiedName:
        return ua.QualifiedName(name, self._index)

    def _structure_of(self, path: str) -> ua.NodeId | None:
        if path == "Window":
            return self._types["window"][1].nodeid  # type: ignore[no-any-return]
        if path == "Result" or path.startswith("Slots."):
            return self._types["slot"][1].nodeid  # type: ignore[no-any-return]
        return None

    def _values(self, words: Sequence[int]) -> dict[str, tuple[Any, ua.VariantType]]:
        """Path -> value and type of every variable, all from one image."""
        values: dict[str, tuple[Any, ua.VariantType]] = {}
        for group, registers in (("Header", HEADER), ("Counters", COUNTERS)):
            for register in registers:
                values[f"{group}.{title(register.name)}"] = _value(register, words, register.address), kind(register)
        flags = Flag(values["Header.Flags"][0])
        for flag in Flag:
            values[f"Flags.{title(flag.name or '')}"] = flag in flags, ua.VariantType.Boolean
        slots = [self._slot(words, k) for k in range(SLOTS)]
        for k, slot in enumerate(slots):
            values[f"Slots.Slot{k:02}"] = slot, ua.VariantType.ExtensionObject
        newest = slots[values["Header.NewestDecided"][0] % SLOTS]
        values["Result"] = newest, ua.VariantType.ExtensionObject
        header = {title(register.name): values[f"Header.{title(register.name)}"][0] for register in HEADER}
        values["Window"] = self._types["window"][0](**header, Slots=slots), ua.VariantType.ExtensionObject
        number, name = VISION_STATES[State(values["Header.State"][0])]
        values["VisionStateMachine.CurrentState"] = ua.LocalizedText(name, "en"), ua.VariantType.LocalizedText
        values["VisionStateMachine.CurrentState.Number"] = number, ua.VariantType.UInt32
        return values

    def _slot(self, words: Sequence[int], k: int) -> Any:
        trigger, high, low, bits, good_items, run, _ = words[SLOT_AT + SLOT_WORDS * k :][:SLOT_WORDS]
        ratio, latency = words[DETAIL_AT + DETAIL_WORDS * k :][:DETAIL_WORDS]
        return self._types["slot"][0](
            Trigger=trigger, PartId=join32(high, low), Valid=bool(bits & SlotBit.VALID), Pass=bool(bits & SlotBit.PASS),
            Fail=bool(bits & SlotBit.FAIL), Simulated=bool(bits & SlotBit.SIMULATED), Reason=bits >> 8 & 0x7F,
            GoodItems=good_items, Run=run, ScoreRatio=ratio, Latency=latency,
        )  # fmt: skip

    async def publish(self) -> None:
        async with self._publishing:
            await self._publish()

    async def _publish(self) -> None:
        words = self._table.image()
        if words == self._words:
            return
        self._words = words
        values = self._values(words)
        decided = []
        for path, (value, variant_type) in values.items():
            if value == self._told[path]:
                continue
            self._told[path] = value
            await self._nodes[path].write_value(value, variant_type)
            await asyncio.sleep(0)  # that took some 0.1 ms; a Modbus client who waits for its answer is next
            if path.startswith("Slots.") and value.Valid:
                decided.append(value)
        recipe = values["Header.Recipe"][0]
        for slot in decided:
            await self._announce(slot, recipe)

    async def _announce(self, slot: Any, recipe: int) -> None:
        event = self._events.event
        event.IsPartial = False
        event.IsSimulated = slot.Simulated
        event.ResultState = COMPLETED if slot.Reason in SEEN_PARTS else FAILED
        event.PartId = str(slot.PartId)
        event.ResultId = f"{slot.Run}.{slot.Trigger}"
        event.InternalRecipeId = str(recipe)
        event.CreationTime = datetime.now(UTC)
        event.ResultContent = slot
        verdict = "PASS" if slot.Pass else "REJECT"
        await self._events.trigger(
            message=f"{self._name}: trigger {slot.Trigger} {verdict} {_reason_name(slot.Reason)}"
        )

    async def _trigger(self, _parent: ua.NodeId, *given: ua.Variant) -> ua.StatusCode | list[ua.Variant]:
        """The whole write."""
        return await self._write(TRIGGER_INPUTS, given, [0] * HOLDING_COUNT)

    async def _acknowledge(self, _parent: ua.NodeId, *given: ua.Variant) -> ua.StatusCode | list[ua.Variant]:
        """All else stays as it was written last: no part is announced."""
        return await self._write(ACKNOWLEDGE_INPUTS, given, list(self._table.holding))

    async def _write(
        self, registers: Sequence[Register], given: Sequence[ua.Variant], words: list[int]
    ) -> ua.StatusCode | list[ua.Variant]:
        """A status says why not; no outputs say that it was carried out."""
        if len(given) != len(registers):
            return ua.StatusCode(ua.UInt32(ua.StatusCodes.BadArgumentsMissing))
        for register, variant in zip(registers, given, strict=True):
            if variant.VariantType != kind(register) or not isinstance(variant.Value, int):
                return ua.StatusCode(ua.UInt32(ua.StatusCodes.BadTypeMismatch))
            words[register.address : register.address + register.words] = _words(register, variant.Value)
        try:
            self._table.write(words, session.get())
        except WriteRefusedError as error:
            wrong_value = isinstance(error.__cause__, ValueError)
            code = ua.StatusCodes.BadOutOfRange if wrong_value else ua.StatusCodes.BadInvalidState
            return ua.StatusCode(ua.UInt32(code))
        await self.publish()
        return []


def _value(register: Register, words: Sequence[int], at: int) -> int:
    return words[at] if register.words == 1 else join32(words[at], words[at + 1])


def _words(register: Register, value: int) -> Sequence[int]:
    return (value,) if register.words == 1 else split32(value)


def _argument(register: Register) -> ua.Argument:
    argument = ua.Argument()
    argument.Name = title(register.name)
    argument.DataType = ua.NodeId(ua.Int32(kind(register).value), ua.Int16(0))
    argument.ValueRank = -1
    argument.Description = ua.LocalizedText(register.meaning)
    return argument


def _reason_name(number: int) -> str:
    return Reason(number).name if number in Reason.__members__.values() else f"unknown {number}"
