"""Archives a broker's journal, in small groups, until it is killed: ``python archiving_process.py JOURNAL ARCHIVE``.

Prints a line for each step, so that the test knows that it is under way.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from pyros.broker import archiving
from pyros.journal import JournalReader

archiving.GROUP = 5
journal = Path(sys.argv[1])
reader = JournalReader(journal)
epoch = reader.rows("SELECT value FROM meta WHERE key = 'epoch'")[0][0]
filler = archiving.ArchiveFiller(journal, epoch, Path(sys.argv[2]))
while True:
    print(filler.step(time.monotonic, archiving.GROUP).packets, flush=True)
