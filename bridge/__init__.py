"""Pass the verdicts to a PLC, failing safe."""
