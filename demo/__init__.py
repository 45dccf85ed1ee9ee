"""The main job on real pictures: solar cells pass a camera, the defective ones are rejected by a simulated PLC."""
