"""What is wrong with an input, for a person and for a program."""


class InputError(ValueError):
    """Something that was given to the model cannot be used.

    Args:
        reason: One word for programs, such as `"wrong_shape"`; it stays the same from version to version.
        message: One line for people: what is wrong and what is wanted.
        where: The place, such as `"rows[3]"` or `"line 5"`; empty where there is none.
    """

    def __init__(self, reason: str, message: str, where: str = "") -> None:
        super().__init__(f"{where}: {message}" if where else message)
        self.reason = reason
        self.message = message
        self.where = where


class BundleError(Exception):
    """The folder of the model cannot be used; the message is one line."""
