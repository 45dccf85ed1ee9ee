"""What of a frame is judged: fixed regions of it, or parts that are found and followed on a moving belt."""

from senbetsu.items.belt import Belt, BeltPart
from senbetsu.items.regions import cut

__all__ = ["Belt", "BeltPart", "cut"]
