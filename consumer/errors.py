"""The two ways things go wrong: an alert that cannot be classified, and a process that must stop."""

from enum import StrEnum
from typing import Final

EXPLAINED: Final = 300
"""Characters of why an alert is bad: a night may have many, and what they quote may be megabytes of a packet."""
SAID: Final = 1_000
"""Characters of an error's one line."""


def shortened(text: str, limit: int) -> str:
    """Text of at most `limit` characters: what is left out, of its middle, is counted in it."""
    if len(text) <= limit:
        return text
    start, end = limit // 2, limit // 4
    return f"{text[:start]} … ({len(text) - start - end:,} characters left out) … {text[-end:]}"


class Reason(StrEnum):
    """Why an alert is a dead letter. The values are part of the output's contract."""

    TOMBSTONE = "tombstone"
    EMPTY = "empty_message"
    TOO_LARGE = "too_large"
    NOT_AVRO = "not_an_avro_container"
    CORRUPT = "corrupt_container"
    CODEC = "unknown_codec"
    WRONG_SCHEMA = "wrong_schema"
    BAD_FIELD = "bad_field"
    PRIVATE = "programid_not_admitted"
    MISSING_CUTOUT = "missing_cutout"
    UNREADABLE_STAMP = "unreadable_stamp"
    STAMP_SHAPE = "stamp_shape"
    BLANK_STAMP = "blank_stamp"
    INFINITE_PIXEL = "infinite_pixel"
    MANY_BAD_RECORDS = "many_bad_records"
    DECODER_FAILED = "decoder_failed"
    UNKNOWN = "unknown"
    """Of a letter that another program wrote: its headers do not say."""


class BadAlert(Exception):  # noqa: N818 - it is an outcome of one alert, not an error of the program
    """This alert cannot be classified; it becomes a dead letter and the rest of the batch goes on.

    programid: the alert's, where it could be read: a private alert stays private when it is bad.
    """

    def __init__(self, reason: Reason, message: str, programid: int | None = None) -> None:
        super().__init__(shortened(message, EXPLAINED))
        self.reason = reason
        self.programid = programid


class EstampaError(Exception):
    """Stops the process with one line for its user: the value, the place and what to do."""

    def __init__(self, message: str) -> None:
        super().__init__(shortened(message, SAID))


class ConfigError(EstampaError):
    """A setting that is unknown, missing or out of range."""


class BrokerError(EstampaError):
    """Kafka is unreachable, refuses this client, or did not acknowledge what was published."""


class StoreError(EstampaError):
    """The store is unreachable, refuses this client, or lost data."""


class ArchiveError(EstampaError):
    """An archive that is missing, of an unknown kind, or ends early."""


class OutputError(EstampaError):
    """An output file that cannot be written, or that another replay left unfinished."""


class EmbeddedError(EstampaError):
    """The embedded broker or store did not start."""


class TooManyBadAlerts(EstampaError):  # noqa: N818 - says what happened
    """Dead letters passed their bound: more likely a fault of the deployment than of the alerts."""


class JobError(EstampaError):
    """A process of a replay with --jobs ended without an error of its own."""


class NothingClassified(EstampaError):  # noqa: N818 - says what happened
    """Alerts were read, and every one of them is a dead letter."""


class UnaccountedAlerts(EstampaError):  # noqa: N818 - says what happened
    """Alerts read and results published do not add up."""
