"""A camera's features as the node map of the GenICam reference implementation gives them (package `genicam`)."""

from typing import Any

from senbetsu.camera.features import FeatureError, Nodes, Value


class GenApiNodes(Nodes):
    """See senbetsu.camera.features.Nodes."""

    def __init__(self, node_map: Any, errors: tuple[type[BaseException], ...]) -> None:
        self._map = node_map
        self._errors: tuple[type[BaseException], ...] = (*errors, AttributeError, TypeError)

    def has(self, name: str) -> bool:
        from genicam.genapi import EAccessMode

        try:
            return getattr(self._map, name).get_access_mode() in (EAccessMode.RO, EAccessMode.RW, EAccessMode.WO)
        except self._errors:
            return False

    def get(self, name: str) -> Value:
        try:
            value: Value = getattr(self._map, name).value
        except self._errors as error:
            raise FeatureError(f"{name} cannot be read: {first_line(error)}") from error
        return value

    def set(self, name: str, value: Value) -> None:
        try:
            getattr(self._map, name).value = value
        except self._errors as error:
            raise FeatureError(first_line(error)) from error

    def execute(self, name: str) -> None:
        try:
            getattr(self._map, name).execute()
        except self._errors as error:
            raise FeatureError(first_line(error)) from error

    def allowed(self, name: str) -> str:
        try:
            node = getattr(self._map, name)
            return ", ".join(node.symbolics) if hasattr(node, "symbolics") else f"{node.min} to {node.max}"
        except self._errors:
            return "unknown"


def first_line(error: BaseException) -> str:
    """Of what it says; its name where it says nothing. GenICam's errors go on with files and line numbers."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
