"""The rows of the table about what was written: one `Measure` each."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from fabula.evaluation.bootstrap import Statistic, average, mean, quantile, share
from fabula.evaluation.measures import Better, Measure
from fabula.evaluation.portrait import Portrait
from fabula.evaluation.sharing import Shared
from fabula.evaluation.similarity import METRICS, NAMES
from fabula.evaluation.systems import System
from fabula.evaluation.wishes import KINDS, Tally, kept_share
from fabula.story import ARCS

SIGNIFICANT = 0.05
# Words; as the writer's own `copied_words`.
LONGEST_RUN = 12


@dataclass(frozen=True)
class Side:
    """All that was found out about one story for each brief: a system's, or the human ones.

    Attributes:
        portraits: of each story.
        tallies: wishes kept of the story's own brief.
        chance_tallies: the same receipts on other briefs' stories, one list a derangement.
        chance_ranks: place among six of the arc asked for, on other briefs' stories.
        chance_reads: whether the reading of other briefs' stories gives the arc asked for.
        likeness: statistics against the human story of the same brief; for humans, against
            another human's story for the same prompt; None where there is none (drawn briefs).
        chance_likeness: the same against the human stories of other prompts.
        shared: longest run shared with the training stories; None if that was not looked up.
    """

    portraits: Sequence[Portrait]
    tallies: Sequence[Tally]
    chance_tallies: Sequence[Sequence[Tally]]
    chance_ranks: Sequence[Sequence[int | None]]
    chance_reads: Sequence[Sequence[bool | None]]
    likeness: Mapping[str, Statistic] | None
    chance_likeness: Sequence[Mapping[str, Statistic]]
    shared: Sequence[Shared] | None


def _human(human: Side | None, figure: Callable[[Side], Statistic | None]) -> Statistic | None:
    """A figure of the human stories, where there are any."""
    return figure(human) if human is not None else None


def likeness_rows(side: Side, human: Side | None) -> list[Measure]:
    """BLEU, chrF and ROUGE with floor and ceiling."""
    if side.likeness is None or human is None:
        return []

    def floor(of: Side, name: str) -> Statistic | None:
        return average([c[name] for c in of.chance_likeness]) if of.chance_likeness else None

    return [
        Measure(
            key=name,
            group="likeness",
            label=NAMES[name],
            own=side.likeness[name],
            floor=floor(side, name),
            human=human.likeness[name] if human.likeness is not None else None,
            human_floor=floor(human, name),
            digits=2,
        )
        for name in METRICS
    ]


def _chance_share(of: Side, kind: str) -> Statistic | None:
    shares = [kept_share(tallies, kind) for tallies in of.chance_tallies]
    return average(shares) if shares else None


def wish_rows(side: Side, human: Side | None) -> list[Measure]:
    """Wishes kept, all and by kind, in the order of `KINDS`."""
    asked = dict.fromkeys(kind for t in side.tallies for kind in t)
    kinds = [k for k in KINDS if k in asked] + [k for k in asked if k not in KINDS]

    def row(kind: str) -> Measure:
        return Measure(
            key=f"wishes_{kind.replace(' ', '_')}",
            group="wishes",
            label=KINDS.get(kind, kind.capitalize()),
            unit="%",
            own=kept_share(side.tallies, kind),
            floor=_chance_share(side, kind),
            human=_human(human, lambda h: kept_share(h.tallies, kind)),
            human_floor=_human(human, lambda h: _chance_share(h, kind)),
        )

    return [row(kind) for kind in kinds]


def arc_rows(side: Side, human: Side | None, asked: Sequence[str | None]) -> list[Measure]:
    """How high the arc asked for stands among six: by the curve's shape, and by the reading."""
    if not any(asked):
        return []

    def ranks(of: Side) -> list[int | None]:
        return [
            p.arc.rank(a) if p.arc is not None and a is not None else None
            for p, a in zip(of.portraits, asked, strict=True)
        ]

    def first(found: Sequence[int | None]) -> Statistic:
        return share([None if r is None else r == 1 for r in found])

    def floor(of: Side, how: str) -> Statistic | None:
        rows = [first(r) if how == "first" else mean(r) for r in of.chance_ranks]
        return average(rows) if rows else None

    def reads(of: Side) -> Statistic:
        return share(
            [
                None if a is None else p.read_arc == a
                for p, a in zip(of.portraits, asked, strict=True)
            ]
        )

    def reads_floor(of: Side) -> Statistic | None:
        return average([share(r) for r in of.chance_reads]) if of.chance_reads else None

    def clear(of: Side) -> Statistic:
        return share([None if p.arc is None else p.arc.p < SIGNIFICANT for p in of.portraits])

    return [
        Measure(
            key="arc_first",
            group="arc",
            label="Arc asked for fits the curve best of six",
            unit="%",
            own=first(ranks(side)),
            floor=floor(side, "first"),
            human=_human(human, lambda h: first(ranks(h))),
            human_floor=_human(human, lambda h: floor(h, "first")),
            chance=100 / len(ARCS),
        ),
        Measure(
            key="arc_rank",
            group="arc",
            label="Mean rank of the arc asked for, 1 to 6",
            better="lower",
            own=mean(ranks(side)),
            floor=floor(side, "rank"),
            human=_human(human, lambda h: mean(ranks(h))),
            human_floor=_human(human, lambda h: floor(h, "rank")),
            chance=(len(ARCS) + 1) / 2,
            digits=2,
        ),
        Measure(
            key="arc_clear",
            group="arc",
            label="Curve stands out of its shuffled self (p < 0.05)",
            unit="%",
            better="human",
            own=clear(side),
            human=_human(human, clear),
            chance=100 * SIGNIFICANT,
        ),
        Measure(
            key="arc_read_first",
            group="arc",
            label="Arc asked for is the likeliest as read",
            unit="%",
            own=reads(side),
            floor=reads_floor(side),
            human=_human(human, reads),
            human_floor=_human(human, reads_floor),
            chance=100 / len(ARCS),
        ),
    ]


def end_rows(system: System) -> list[Measure]:
    """Whether stories came to their end by themselves, and how likely the model holds that end."""

    def chance(of: Sequence[float | None] | None) -> Statistic:
        return mean([None if c is None else 100 * c for c in of or []])

    ended = share([s.making.ended if s.making is not None else None for s in system.told])
    likely = chance(system.ends)
    rows = []
    if ended.value is not None:
        rows.append(Measure(key="ended", group="form", label="Ends by itself", unit="%", own=ended))
    if likely.value is not None:
        rows.append(
            Measure(
                key="end_probability",
                group="form",
                label="Probability of the end there",
                unit="%",
                better="human",
                own=likely,
                floor=chance(system.early_ends),
                human=chance(system.human_ends) if system.human_ends is not None else None,
            )
        )
    return rows


def form_rows(side: Side, human: Side | None, wanted: Sequence[int | None]) -> list[Measure]:
    """Length, endings, repetition, diversity, end-positivity."""
    sides = [side] if human is None else [side, human]

    def row(
        key: str,
        label: str,
        of: list[Statistic],
        better: Better = "human",
        unit: str = "%",
        digits: int = 1,
    ) -> Measure:
        return Measure(
            key=key, group="form", label=label, unit=unit, better=better,
            own=of[0], human=of[1] if human is not None else None, digits=digits,
        )  # fmt: skip

    def each(figure: Callable[[Portrait], float | None]) -> list[Statistic]:
        return [mean([figure(p) for p in s.portraits]) for s in sides]

    def yes(answer: Callable[[Portrait], bool]) -> list[Statistic]:
        return [share([answer(p) for p in s.portraits]) for s in sides]

    def spread(n: int) -> list[Statistic]:
        return each(lambda p: None if (d := p.distinct[n - 1]) is None else 100 * d)

    rows = [row("words", "Mean length", each(lambda p: p.words), unit="words", digits=0)]
    if any(wanted):
        far = [
            mean(
                [
                    100 * abs(p.words / w - 1) if w else None
                    for p, w in zip(s.portraits, wanted, strict=True)
                ]
            )
            for s in sides
        ]
        rows.append(row("length_error", "Mean distance from the length asked for", far, "lower"))
    return [
        *rows,
        row("whole", "Last sentence is whole", yes(lambda p: p.whole), "higher"),
        row("loops", "Has a loop: 8 words, 3 times", yes(lambda p: p.loops), "lower"),
        row("repeated_4", "Repeated 4-grams", each(lambda p: 100 * p.repeated_4), digits=2),
        *(row(f"distinct_{n}", f"Distinct-{n}, first 150 words", spread(n)) for n in (1, 2, 3)),
        row("end_positivity", "End-positivity", each(lambda p: p.end_lift), unit="", digits=3),
    ]


def copying_rows(side: Side, human: Side | None) -> list[Measure]:
    """Median, 99th percentile and maximum of the longest shared runs; how many are short."""
    if side.shared is None:
        return []

    def runs(of: Side) -> list[int]:
        return [s.words for s in of.shared or []]

    def row(key: str, label: str, q: float) -> Measure:
        return Measure(
            key=f"shared_{key}",
            group="copying",
            label=label,
            unit="words",
            better="human",
            own=quantile(runs(side), q),
            human=_human(human, lambda h: quantile(runs(h), q)),
            digits=0,
            bounded=q < 0.9,
        )

    def short(of: Side) -> Statistic:
        return share([words <= LONGEST_RUN for words in runs(of)])

    return [
        row("p50", "Longest shared run, median", 0.5),
        row("p99", "Longest shared run, 99th percentile", 0.99),
        row("max", "Longest shared run of all", 1),
        Measure(
            key=f"shared_{LONGEST_RUN}",
            group="copying",
            label=f"Longest shared run at most {LONGEST_RUN} words",
            unit="%",
            own=short(side),
            human=_human(human, short),
        ),
    ]


def time_rows(system: System) -> list[Measure]:
    """How long writing a story took, where it was written here; by the clock of this machine."""
    seconds = system.seconds or []
    if all(s is None for s in seconds):
        return []
    return [
        Measure(
            key=key,
            group="time",
            label=label,
            unit="s",
            better="lower",
            own=quantile(seconds, q),
            digits=2,
            bounded=q < 0.9,
        )
        for key, label, q in (
            ("seconds", "A story takes, median", 0.5),
            ("seconds_p90", "A story takes, 90th percentile", 0.9),
        )
    ]


def story_rows(
    side: Side,
    human: Side | None,
    asked: Sequence[str | None],
    wanted: Sequence[int | None],
    system: System,
) -> list[Measure]:
    """All rows of a system's stories.

    Args:
        side: the system's.
        human: the human stories of the same briefs; None for drawn ones.
        asked: the arc each brief asks for.
        wanted: the length each brief asks for, in words.
        system: whose stories they are.
    """
    return [
        *likeness_rows(side, human),
        *wish_rows(side, human),
        *arc_rows(side, human, asked),
        *end_rows(system),
        *form_rows(side, human, wanted),
        *copying_rows(side, human),
        *time_rows(system),
    ]
