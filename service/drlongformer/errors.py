"""Every error the project raises on purpose, in one tree.

    DrLongformerError
    ├── InputError                 the caller can mend the request
    │   ├── MalformedBody              not JSON, not UTF-8, lone surrogates, NaN or Infinity
    │   ├── InvalidRequest             valid JSON that breaks the schema
    │   ├── EmptyText                  a text without a single token
    │   ├── MaskError                  no mask in the text, or a target that is not one token
    │   ├── UnknownLabel               a label the head does not have
    │   ├── UnsupportedTask            a task or head that the model does not have
    │   ├── UnknownModel               no such model or version is served
    │   ├── DocumentTooLong            over a limit on tokens, characters or windows
    │   │   └── AnswerTooLarge             the answer would be over its limit
    │   ├── BodyTooLarge               over the byte limit
    │   ├── BodyTooSlow                the body did not arrive in time
    │   ├── Unauthorized               no key, or not a valid one
    │   └── Forbidden                  a valid key that may not do this
    ├── ServiceError               the request is sound, the service cannot answer it now
    │   ├── Overloaded                 the queue is full
    │   ├── Quota                      the key's share of a minute is used up
    │   ├── NotReady                   starting or draining
    │   ├── EngineFailed               the engine broke on this batch
    │   │   ├── DeviceOutOfMemory          the batch did not fit in the device's memory
    │   │   └── DeviceLost                 the device cannot be used any more; the process ends
    │   ├── Cancelled                  nobody waits for the answer any more
    │   └── DeadlineExceeded           the caller's deadline passed
    ├── BundleError                a bundle is missing, altered, incomplete or not understood
    ├── DeviceUnavailable          the device that was asked for cannot be used
    ├── CheckpointError            a checkpoint that cannot be imported
    ├── ParityError                an exported graph does not equal its model
    ├── RunError                   files that a run cannot read, or an output that it cannot write or go on with
    └── TrainingError              a corpus, recipe or data set that cannot be trained on

Messages name limits and actual figures, never a word of a text.
"""

from __future__ import annotations


class DrLongformerError(Exception):
    """The root of the tree."""


class InputError(DrLongformerError):
    """The caller can mend the request; `location` is the path of the field at fault, `others` what else must be mended."""

    def __init__(self, message: str, *, location: tuple[str | int, ...] = ()) -> None:
        super().__init__(message)
        self.location = location
        self.others: tuple[InputError, ...] = ()


class MalformedBody(InputError):
    """The body is not JSON, not UTF-8, or holds lone surrogates, NaN or Infinity."""


class InvalidRequest(InputError):
    """The body is JSON but breaks the schema."""


class EmptyText(InputError):
    """A text without a single token."""


class MaskError(InputError):
    """The text has no mask, or a target word is not a single token."""


class UnknownLabel(InputError):
    """A label that the head does not have."""


class UnsupportedTask(InputError):
    """A task or head that the model does not have."""


class UnknownModel(InputError):
    """No such model or version is served."""


class DocumentTooLong(InputError):
    """A document is over a limit on tokens, characters or windows."""


class AnswerTooLarge(DocumentTooLong):
    """The answer would be over its limit, however short its documents are."""


class BodyTooLarge(InputError):
    """The body is over the byte limit."""


class BodyTooSlow(InputError):
    """The body did not arrive in time."""


class Unauthorized(InputError):
    """No key was sent, or none that is valid."""


class Forbidden(InputError):
    """The key is valid and may not do this."""


class ServiceError(DrLongformerError):
    """The request is sound but cannot be answered now; `retry_after_seconds` says when to come back, if known."""

    def __init__(self, message: str, *, retry_after_seconds: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds


class Overloaded(ServiceError):
    """The queue has no room for the whole request."""


class Quota(ServiceError):
    """The key has used its quota of a minute up."""


class NotReady(ServiceError):
    """The service is starting or draining."""


class EngineFailed(ServiceError):
    """The engine broke on the batch that held this document."""


class DeviceOutOfMemory(EngineFailed):
    """The device has no memory for a batch of this size; a smaller one may fit."""


class DeviceLost(EngineFailed):
    """The device cannot be used by this process any more, whatever is asked of it."""


class Cancelled(ServiceError):
    """Nobody waits for the answer any more."""


class DeadlineExceeded(ServiceError):
    """The caller's deadline passed before the answer was ready."""


class BundleError(DrLongformerError):
    """A bundle is missing, altered, incomplete or of an unknown form."""


class DeviceUnavailable(DrLongformerError):
    """The device that was asked for cannot be used."""


class CheckpointError(DrLongformerError):
    """A checkpoint that cannot be imported."""


class ParityError(DrLongformerError):
    """An exported graph does not equal the model it came from."""


class RunError(DrLongformerError):
    """Files that a run cannot read, or an output folder that it cannot write or go on with."""


class TrainingError(DrLongformerError):
    """A corpus, recipe or data set that cannot be trained on."""
