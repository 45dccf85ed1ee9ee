"""What the programs share: config, images, network, engines, profile, verdict, messages, registers."""

__version__ = "0.1.0"
