"""At shift start: every known bad part must be rejected and every golden one pass, and it is written down."""
