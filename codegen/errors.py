"""The one error of the build step: its text is all a user sees, so it names the file and what to do."""


class CodegenError(Exception):
    """An input cannot be turned into the packages; nothing was written."""
