"""Watch the line: camera, batches, verdicts, ZeroMQ."""
