"""What the claims of `calibrate` are worth on real parts: coverage, lots, few parts, contamination."""
