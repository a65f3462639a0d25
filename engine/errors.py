"""Every error that Marotte raises on purpose.

    MarotteError
    ├── InputError            what the user gave cannot be used
    │   ├── DecodeError       the file is no picture or video that we read
    │   ├── TooLargeError     refused by its size, before decoding
    │   ├── TooSmallError     fewer pixels than a face needs
    │   ├── NoFaceError       decoded, but nobody is in it
    │   ├── NoBodyError       decoded, but nobody's body, or too little of it
    │   ├── DifferentPeopleError  pictures given as one person's, by shape of several
    │   ├── ConsentError      nobody's valid consent is recorded for a source, or the record is none
    │   ├── DeniedError       it stands on the deny-list
    │   └── ConfigError       an option, a name or a value is wrong
    ├── ModelError            a model file is missing, damaged or not the pinned one
    ├── BundleError           a bundle cannot be used
    │   ├── ManifestError
    │   ├── ChecksumError
    │   ├── VersionError
    │   ├── UneditedError     it left a face as it was, though a change was asked for
    │   └── PortError         an array does not fit the graph's port
    ├── BackendError          an inference runtime is absent or failed
    │   └── PlanError         a plan cannot be built, kept or loaded
    │       ├── PlanCancelled  its build was ended by who asked for it
    │       └── PlanCacheError nothing can be kept where plans are kept
    ├── WorkerError           the worker is away, busy, or cannot be started
    ├── StateError            what has to be recorded cannot be
    ├── ProvenanceError       a manifest cannot be written or read
    └── TrainingError

A message says what, got, expected and the next step, on one line.
They are caught at three doors only: the command line (one line, exit status 2),
HTTP (status and JSON) and the frame loop (fail closed, count, log once).
"""


class MarotteError(Exception):
    """Root of the tree: catch this to catch everything that Marotte raises on purpose."""


class InputError(MarotteError):
    """What the user gave (a file, a name, a value) cannot be used as asked."""


class DecodeError(InputError):
    """The bytes are no picture or video of a kind that we read, or they are damaged."""


class TooLargeError(InputError):
    """Refused by its stated size before any pixel was decoded."""


class TooSmallError(InputError):
    """Too few pixels to hold a face that can be animated."""


class NoFaceError(InputError):
    """The picture was read, and no face was found in it."""


class NoBodyError(InputError):
    """The picture was read, and no body was found in it, or too little of one to fit a mesh to."""


class DifferentPeopleError(InputError):
    """Pictures that were given as one person's show faces of different shapes; it can be accepted by name."""


class ConsentError(InputError):
    """No record of consent holds for a source: there is none, it has expired, was revoked, or is for something else."""


class DeniedError(InputError):
    """A source stands on this installation's deny-list."""


class ConfigError(InputError):
    """An option, a name or a value is not one of those accepted."""


class ModelError(MarotteError):
    """A model file is missing, damaged, or is not the pinned one."""


class BundleError(MarotteError):
    """A bundle cannot be used."""


class ManifestError(BundleError):
    """The bundle's manifest does not follow its schema."""


class ChecksumError(BundleError):
    """A file of the bundle does not have the SHA-256 that its manifest states."""


class VersionError(BundleError):
    """The bundle was written for another version of the format."""


class UneditedError(BundleError):
    """A bundle's answer left the driver's face as it was, though a change was asked for that has to be seen."""


class PortError(BundleError):
    """An array given to a graph does not fit the port's name, shape or dtype."""


class BackendError(MarotteError):
    """An inference runtime is not installed, refused the graph, or failed while running it."""


class PlanError(BackendError):
    """A plan (a graph compiled for one GPU) cannot be built, kept or loaded."""


class PlanCancelled(PlanError):  # noqa: N818 - nothing went wrong
    """The build of a plan was ended by who asked for it."""


class PlanCacheError(PlanError):
    """The folder of plans cannot be used; plans can be built and run all the same."""


class WorkerError(MarotteError):
    """The process that tracks and generates is away, busy, or cannot be started."""


class StateError(MarotteError):
    """What has to be recorded could not be written."""


class ProvenanceError(MarotteError):
    """A C2PA manifest cannot be written or read: no library, no usable certificate, or a kind of file without one."""


class TrainingError(MarotteError):
    """A training cannot start or had to stop."""
