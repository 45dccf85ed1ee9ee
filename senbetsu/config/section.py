"""What every table of the file has in common, and the texts that several hold."""

from ipaddress import ip_network
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

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


class Section(BaseModel):
    """A table of the file: closed (unknown keys refused) and frozen."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, use_attribute_docstrings=True)
