"""senbetsu keys: makes the keys by which daemon and clients know each other."""
