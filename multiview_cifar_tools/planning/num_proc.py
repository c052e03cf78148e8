"""Whether more processes make a build faster. Does not import the script."""

from __future__ import annotations

import logging

logger = logging.getLogger(__name__)

# Seconds of a processor, measured with 20,000 and 60,000 files of 2 kB on two cores (AMD EPYC).
START_PROCESSES = 0.15
SEND_SAMPLE, READ_SAMPLE = 8e-6, 10e-6
COPY_BYTE, CONVERT_BYTE = 1e-9, 1e-7


def choose_num_proc(num_proc: int, split: str, samples: int, nbytes: int, is_copied: bool) -> int:
    """`num_proc`, or 1 where more processes take longer: that is logged.

    Args:
        num_proc: What was asked for.
        split: Its name.
        samples: Of the split.
        nbytes: Of their files.
        is_copied: Whether the files are only read, not decoded or converted.
    """
    if num_proc == 1 or processes_pay(num_proc, samples, nbytes, is_copied):
        return num_proc
    logger.warning(
        "The split %r is built in one process: with num_proc=%d it would take longer, as its "
        "images are few or small.",
        *(split, num_proc),
    )
    return 1


def processes_pay(num_proc: int, samples: int, nbytes: int, is_copied: bool) -> bool:
    """Whether that many processes save more time than it takes to start them and to send them
    their samples, which small files that are only copied do not.
    """
    work = samples * READ_SAMPLE + nbytes * (COPY_BYTE if is_copied else CONVERT_BYTE)
    return work * (1 - 1 / num_proc) > START_PROCESSES + samples * SEND_SAMPLE
