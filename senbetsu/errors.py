"""The one error that a user is meant to read.

Its text says what was expected, what was found, which setting or file it is about, and what to do next. A program
prints it as one line and ends with status 2; any other exception is a defect and keeps its traceback.
"""


class UserError(Exception):
    """Something that the person at the line can put right: a path, a setting, a file, a port."""


class ConfigError(UserError):
    """A setting is unknown, of the wrong type or out of range."""


class ArtifactError(UserError):
    """An artefact is missing, damaged, or was made for another model, engine or precision."""


class ImageError(UserError):
    """A picture cannot be read whole."""
