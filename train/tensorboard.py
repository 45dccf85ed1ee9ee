"""Scalars of learning for TensorBoard, where somebody asks for them and has it installed."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from senbetsu.errors import UserError
from train.health import Look, Record


def observer(folder: Path, what: str) -> Callable[[Record], None]:
    """Something that writes every record into `folder`, one run a sub-folder named after `what`.

    Raises:
        UserError: TensorBoard is not installed, or the folder cannot be written to.
    """
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise UserError(
            f"train.tensorboard = {folder}: TensorBoard is not installed; pip install 'senbetsu[tensorboard]', or leave the "
            "setting out"
        ) from None
    try:
        writer: Any = SummaryWriter(str(folder / what.replace(" ", "_")))
    except OSError as error:
        raise UserError(
            f"train.tensorboard = {folder}: cannot be written to: {error.strerror}; name another folder"
        ) from error

    def write(record: Record) -> None:
        writer.add_scalar("loss", record.loss, record.step)
        writer.add_scalar("active_share", record.active_share, record.step)
        for name, value in zip(Look._fields, record.look, strict=True):
            writer.add_scalar(name, value, record.step)
        writer.flush()

    return write
