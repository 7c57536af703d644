"""The process that evaluates subscribers' filters; a script that needs nothing of PYROS, so that it starts at once.

Standard input and output are one socket to `filtering`. A question is two lengths, a JSON array of arrays of XPaths and
an event; the answer is a line for each expression as it is evaluated: ``job filter result seconds``. Of a job only the
expressions up to the first true one are evaluated. Comments and processing instructions are not there for them. A job
that uses more processor time than its budget ends the process.
"""

import json
import os
import resource
import signal
import struct
import sys
import time

from lxml import etree

NICE = 10
MEMORY = 1 << 30
_KEPT = 1024  # expressions that stay compiled


def read(length: int) -> bytes:
    """So many bytes; ends the process when the broker is gone."""
    parts = b""
    while len(parts) < length:
        part = os.read(0, length - len(parts))
        if not part:
            sys.exit(0)
        parts += part
    return parts


def main(budget: float) -> None:
    """Answer until standard input ends; ``budget`` is the processor time of a job in seconds."""
    os.nice(NICE)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.signal(signal.SIGPROF, signal.SIG_DFL)  # which ends the process, also within a call of libxml2
    # Texts that such nodes part from each other are put in order in a time that grows with the square of their number.
    parser = etree.XMLParser(
        resolve_entities=False, load_dtd=False, no_network=True, huge_tree=False, remove_comments=True, remove_pis=True
    )
    compiled: dict[str, etree.XPath] = {}
    os.write(1, b"ready\n")
    while True:
        asked, size = struct.unpack(">II", read(8))
        jobs, root = json.loads(read(asked)), etree.fromstring(read(size), parser)
        for job, texts in enumerate(jobs):
            begin = time.process_time()
            for number, text in enumerate(texts):
                if len(compiled) > _KEPT:
                    compiled.clear()
                filter_ = compiled[text] = compiled.get(text) or etree.XPath(text, regexp=False)
                signal.setitimer(signal.ITIMER_PROF, max(1e-3, budget - (time.process_time() - begin)))
                try:
                    passes = bool(filter_(root))
                except etree.XPathError:  # a prefix that nobody has declared ...
                    passes = False
                signal.setitimer(signal.ITIMER_PROF, 0)
                os.write(1, f"{job} {number} {passes:d} {time.process_time() - begin:.6f}\n".encode())
                if passes:
                    break


if __name__ == "__main__":
    main(float(sys.argv[1]))
