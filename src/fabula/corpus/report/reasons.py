"""Why stories are dropped, in a sentence each, and the step at which they are."""

from __future__ import annotations

import re

STEPS = ("faulty or unfit", "duplicates", "kept from the held-out")
# First match counts; a reason that nobody explains here still stands under its own name.
_WHY = (
    (r"duplicate id", 0, "An id names one story; a second one would be counted twice."),
    (r"exact duplicate", 1, "Its words are those of another story here; a model would learn it "
     "by heart."),
    (r"checked against", 2, "It is, or quotes, or answers the prompt of a story that the corpus "
     "was to be kept apart from."),
    (r"reprint of a passage", 1, "Nearly all of it stands inside another story here."),
    (r"(near )?duplicate", 1, "It is nearly the same as another story here "
     "(MinHash over five-word shingles)."),
    (r"shared with a held-out|held.out|test file|leak", 2, "Its prompt or text is held out; "
     "training on it would spoil every figure after."),
    (r"post was removed|deleted", 0, "The site shows a placeholder where the story was."),
    (r"moderator", 0, "Rules of a site are no story."),
    (r"prompt asks for no story", 0, "The prompt is for talk about the site."),
    (r"comments? on another", 0, "It speaks of somebody else's story."),
    (r"unfinished", 0, "A story without its ending teaches to stop in the middle."),
    (r"continues another|part \d|begging", 0, "A story without its beginning teaches to start "
     "in the middle."),
    (r"^under \d+ words", 0, "Too short to have five beats."),
    (r"fewer than five sentences", 0, "Five beats need a sentence each."),
    (r"^over \d+ words", 0, "Longer than was asked for."),
    (r"empty", 0, "Nothing is left to read."),
    (r"UTF-8", 0, "Its bytes are no UTF-8 text."),
    (r"NUL|binary", 0, "It is no text."),
    (r"JSON", 0, "The line cannot be parsed."),
    (r"gold labels", 0, "Its labels are wrong or contradict each other."),
    (r"not text|not a list", 0, "The column holds something other than text."),
    (r"number of cells", 0, "The row has more or fewer cells than the heading."),
    (r"line (is )?over|longer than|MB", 0, "No story is so long; the file is probably damaged."),
)  # fmt: skip


def explain(reason: str) -> tuple[int, str]:
    """The place in `STEPS` of a reason, and why such a story is dropped ("" if unexplained)."""
    for pattern, step, why in _WHY:
        if re.search(pattern, reason, re.IGNORECASE):
            return step, why
    return 0, ""
