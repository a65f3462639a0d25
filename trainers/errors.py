"""Every error that training raises on purpose.

    TrainerError
    ├── RecipeError        a recipe, an option or a value is wrong
    ├── DataError          the prepared pictures cannot be used
    │   └── PictureError   one of them cannot be read: the loop takes another and says so
    ├── CheckpointError    a checkpoint is missing, damaged, or of another system or width
    ├── StorageError       what was to be kept could not be written
    └── DivergedError      a guard stopped the training, and says why

A message says what, got, expected and the next step, on one line. The command line turns it into that line and exit
status 2.
"""


class TrainerError(Exception):
    """Root of the tree: catch this to catch everything that training raises on purpose."""


class RecipeError(TrainerError):
    """A recipe, an option or a value is not one of those accepted."""


class DataError(TrainerError):
    """The prepared pictures, or what is recorded about them, cannot be used as the recipe asks."""


class PictureError(DataError):
    """One picture cannot be read. Raised by a dataset's `__getitem__`, the loop takes another one in its place."""


class CheckpointError(TrainerError):
    """A checkpoint is missing, damaged, or belongs to another system, width or recipe."""


class StorageError(TrainerError):
    """A file of the training could not be written; what was written before is whole."""


class DivergedError(TrainerError):
    """A guard stopped the training: a value is not finite, or the system's own guard gave its reason."""
