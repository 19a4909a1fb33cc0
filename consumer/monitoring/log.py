"""Logging: constant events, facts as keys; JSON, or text on a terminal. One line a stage of life or a minute."""

import logging
import sys

import structlog

from consumer.configuration.settings import LogSettings


def configure_logging(settings: LogSettings) -> None:
    """Send structlog's events to stderr, which leaves stdout to results."""
    as_text = settings.format == "text" or (settings.format == "auto" and sys.stderr.isatty())
    renderer: structlog.typing.Processor = (
        structlog.dev.ConsoleRenderer() if as_text else structlog.processors.JSONRenderer()
    )
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[settings.level.upper()]),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
