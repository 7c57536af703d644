"""How sharp the images were since the focus was found, and whether it should be looked for again.

Stars that have become wider are no proof: the seeing may have. So the focus is not looked for again soon after it was
found, and what counts are the medians of three images beside the best of them since then.
"""

from __future__ import annotations

from statistics import median

import msgspec

_MEDIAN_OF = 3
AT_MOST_EVERY_SECONDS = 1800.0
"""So soon after it was found the focus isn't looked for again on account of the images."""


class Sharpness(msgspec.Struct):
    """What the images since the last focusing have shown."""

    recent: list[float] = []
    """FWHM of the last images, arcseconds."""
    best: float | None = None
    """The least median of three images in a row, arcseconds; None before there were three."""

    def take(self, fwhm: float) -> None:
        """Note the FWHM (arcseconds) of one more image."""
        self.recent = [*self.recent, fwhm][-_MEDIAN_OF:]
        if len(self.recent) == _MEDIAN_OF:
            now = median(self.recent)
            self.best = now if self.best is None else min(self.best, now)

    def why_focus(self, fraction: float) -> str:
        """Say by how much the stars have become wider, where that is more than ``fraction``; '' where it isn't."""
        if self.best is None:
            return ""
        now = median(self.recent)
        if now <= self.best * (1 + fraction):
            return ""
        return f'the stars have become {now / self.best - 1:.0%} wider: {now:.1f}", from {self.best:.1f}"'
