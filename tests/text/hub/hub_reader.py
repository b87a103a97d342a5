"""Reads sources of the hub in a process of its own, since the client reads its settings at import.

Each line of the input is a list of settings; the answer is a line with what each of them gave.
"""

import json
import multiprocessing
import sys
import time

WAITED = []
_really_sleep = time.sleep


def _sleep(seconds):
    """Keep how long somebody wanted to wait, and wait less."""
    WAITED.append(seconds)
    _really_sleep(min(seconds, 0.01))


time.sleep = _sleep

from yxanul.base.errors import YxanulError  # noqa: E402
from yxanul.text.config import HubSettings  # noqa: E402
from yxanul.text.documents import Document  # noqa: E402
from yxanul.text.sources import byte_ranges, hub_plan, open_source, remote  # noqa: E402

byte_ranges.RANGE_BYTES = 1 << 16
remote.BUFFER_BYTES = 1 << 14


def read_part(settings, part):
    """Return the items of a part, in whatever process this is."""
    return list(open_source("mine", HubSettings(**settings)).read(part))


def answer(settings, workers=0):
    """Return what a source gives, or the error."""
    WAITED.clear()
    hub_plan.find_plan.cache_clear()
    try:
        source = open_source("mine", HubSettings(**settings))
        parts = source.slices()
        notes = source.notes
        if workers:
            with multiprocessing.get_context("spawn").Pool(workers) as pool:
                tasks = [(settings, part) for part in parts]
                items = [item for some in pool.starmap(read_part, tasks, 1) for item in some]
        else:
            items = [item for part in parts for item in source.read(part)]
    except YxanulError as error:
        return {"error": str(error), "waited": list(WAITED)}
    documents = [item for item in items if isinstance(item, Document)]
    dropped = [item for item in items if not isinstance(item, Document)]
    return {
        "parts": [(part.name, part.fingerprint) for part in parts],
        "texts": [document.text for document in documents],
        "ids": [document.id for document in documents],
        "dropped": [(item.cause, item.where) for item in dropped],
        "notes": notes,
        "waited": list(WAITED),
    }


if __name__ == "__main__":
    for line in sys.stdin:
        many, workers = json.loads(line)
        print(json.dumps([answer(settings, workers) for settings in many]), flush=True)
