"""A PLC to try the line with: it triggers parts, reads verdicts and moves a gate, by the contract and nothing else."""
