"""senbetsu recipe: what the line inspects now, and changing it while it runs."""
