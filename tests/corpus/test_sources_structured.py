"""Structured narratives, Project Gutenberg's texts, folders of tables, saved data sets."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from made_sources import (
    BOOK_TITLES,
    CLOZE,
    ROC,
    cloze,
    collection,
    fairytale_folder,
    five,
    gutenberg,
    roc,
    table,
    tale,
    wrapped,
)
from made_stories import story

from fabula.corpus import example_rows, load_corpus, open_source
from fabula.corpus.clean import clean_text
from fabula.corpus.fairytale import Question, names_told, place_told
from fabula.corpus.given import Given, group_sections
from fabula.corpus.kinds import KINDS
from fabula.corpus.source import Row
from fabula.errors import FabulaError, MissingExtra
from fabula.story import FREYTAG

Preparer = Callable[..., dict[str, Any]]


def rows(argument: str | Path, **options: object) -> list[Row]:
    return list(open_source(str(argument), set(), **options).rows())  # type: ignore[arg-type]


# ROCStories and the Story Cloze Test


def test_five_sentences_are_the_five_beats(tmp_path: Path, prep: Preparer) -> None:
    (tmp_path / "ROCStories_winter2017.csv").write_bytes(table(ROC, roc(40)))
    (source,) = prep(tmp_path / "ROCStories_winter2017.csv")["sources"]
    assert (source["kind"], source["kept"], source["dropped"]) == ("rocstories", 40, {})
    for row in example_rows(load_corpus(tmp_path / "out", "train")):
        number = int(row.id.rsplit("-", 1)[1])
        assert [p.beat for p in row.passages] == list(FREYTAG)
        assert [p.text for p in row.passages] == five(number)
        assert row.outline is not None
        assert len(row.outline.beats) == 5
        assert row.brief.title == f"Title {number}"


def test_a_short_story_with_known_beats_is_kept_and_a_stub_is_not(
    tmp_path: Path, prep: Preparer
) -> None:
    short = ["Ada ran far.", "it rained on her all day long.", "She fell.", "She got up again.",
             "She won the race and the cup."]  # fmt: skip
    stub = ["Ada ran.", "It rained.", "She fell.", "She rose.", "She won."]
    table_ = table(ROC, [*roc(20), ["short", "Run", *short], ["stub", "Run", *stub]])
    (tmp_path / "roc.csv").write_bytes(table_)
    (source,) = prep(tmp_path / "roc.csv", valid=0.0, test=0.0)["sources"]
    assert source["dropped"] == {"under 20 words": {"stories": 1, "example": "roc.csv:23"}}
    found = {r.id: r for r in example_rows(load_corpus(tmp_path / "out", "train"))}
    # The second sentence begins small, and is a beat all the same.
    assert [p.text for p in found["roc-short"].passages] == short


def test_the_right_ending_is_taken(tmp_path: Path) -> None:
    (tmp_path / "cloze_val.csv").write_bytes(table(CLOZE, cloze(4)))
    source = open_source(str(tmp_path / "cloze_val.csv"), set())
    assert source.kind == "storycloze"
    for number, row in enumerate(source.rows()):
        assert row.text.split("\n\n") == five(number)
        assert row.id == f"id-{number}"
        assert len(Given.load(row.given).cuts) == 4


def test_any_table_may_hold_five_beats(tmp_path: Path) -> None:
    data = {f"sentence{n + 1}": [five(1)[n]] for n in range(5)}
    pq.write_table(pa.table(data), tmp_path / "roc.parquet")
    (row,) = rows(tmp_path / "roc.parquet")
    assert row.text.split("\n\n") == five(1)
    mapped = {f"s{n}": s for n, s in enumerate(five(2))}
    (tmp_path / "a.jsonl").write_text(json.dumps(mapped))
    (row,) = rows(tmp_path / "a.jsonl", mapping={f"beat{n + 1}": f"s{n}" for n in range(5)})
    assert row.text.split("\n\n") == five(2)


# FairytaleQA


def test_the_folder_by_split_in_sections_is_read_once(tmp_path: Path, prep: Preparer) -> None:
    folder = fairytale_folder(tmp_path, 3)
    source = open_source(str(folder), set())
    assert source.kind == "fairytale"
    assert len(source.files) == 6, "three tales and their questions"
    found = list(source.rows())
    assert [(r.title, r.split) for r in found] == [
        ("the kite 2", "test"), ("the kite 0", "train"), ("the kite 1", "valid"),
    ]  # fmt: skip
    given = Given.load(found[1].given)
    assert (given.characters, given.place) == (("Solvej",), "Drommund")
    edges = [0, *given.cuts, len(found[1].text)]
    beats = [found[1].text[a:b].strip() for a, b in itertools.pairwise(edges)]
    assert all(any(beat.startswith(s[:40]) for s in tale(0)) for beat in beats), "at borders"
    prep(folder, max_words=2000)
    (row,) = example_rows(load_corpus(tmp_path / "out", "train"))
    assert [p.text for p in row.passages] == [clean_text(b).text for b in beats]
    assert row.brief.setting is not None
    assert row.brief.setting.place == "Drommund"
    assert "Solvej" in [c.name for c in row.brief.characters]


def test_long_tales_are_parted_and_tags_stay_true(tmp_path: Path, prep: Preparer) -> None:
    sections = tale(3)
    sections = [sections[0], *(s.split("\n", 1)[1] for s in sections[1:])]
    questions = [
        {"section": "1", "about": ["setting"], "question": "Where does the story take place?",
         "answers": ["Drommund"]},
    ]  # fmt: skip
    record = {"title": "kite", "sections": sections, "questions": questions}
    (tmp_path / "tales.jsonl").write_text(json.dumps(record))
    prep(tmp_path / "tales.jsonl", max_words=150, valid=0.0, test=0.0)
    places = [
        row.brief.setting.place if row.brief.setting else None
        for row in example_rows(load_corpus(tmp_path / "out", "train"))
    ]
    assert len(places) > 1
    assert places[0] == "Drommund"
    assert "Drommund" not in places[1:]


@pytest.mark.parametrize("count", [5, 6, 12, 40])
def test_sections_go_in_five_groups(count: int) -> None:
    sections = [story(n, 6) for n in range(count)]
    groups = group_sections(sections, (0.169, 0.405, 0.632, 0.796))
    assert groups is not None
    assert [s for g in groups for s in g] == sections
    assert len(groups) == 5
    assert all(groups)
    assert group_sections(sections[:4], (0.169, 0.405, 0.632, 0.796)) is None


TEXT = "One day Solvej met the king. Then Solvej and Ivo Lund ran, and Ivo Lund fell. " * 3


@pytest.mark.parametrize(
    ("question", "answers", "names"),
    [
        ("Who ran?", ("Solvej",), ("Solvej",)),
        ("Who fell?", ("Ivo Lund", "the boy"), ("Ivo Lund",)),
        ("Who met Solvej?", ("the king",), ()),
        ("Who met Solvej?", ("King",), ()),
        ("Who was far?", ("Hanne",), ()),
        ("What did Solvej do?", ("Solvej",), ()),
        ("What was the girl's name?", ("Solvej.",), ("Solvej",)),
    ],
)
def test_names_are_told_or_left_empty(
    question: str, answers: tuple[str, ...], names: tuple[str, ...]
) -> None:
    text = TEXT + "They say Solvej won."
    assert names_told([Question(question, ("character",), (1,), answers)], text) == names


@pytest.mark.parametrize(
    ("question", "section", "answer", "place"),
    [
        ("Where does the story take place?", 4, "in the old mill", "the old mill"),
        ("Where did Solvej live?", 1, "The Old Mill.", "the old mill"),
        ("Where did Solvej live?", 2, "the old mill", None),
        ("Where did the man live?", 1, "the old mill", None),
        ("Where did Solvej fall?", 1, "the old mill", None),
        ("Where did Solvej live?", 1, "near the old mill", None),
        ("Where did Solvej live?", 1, "a castle", None),
    ],
)
def test_a_place_is_told_or_left_empty(
    question: str, section: int, answer: str, place: str | None
) -> None:
    text = (
        "Solvej lived in the old mill. " + "Solvej ran. " * 5 + "The man lived near the old mill."
    )
    asked = Question(question, ("setting",), (section,), (answer,))
    assert place_told([asked], text) == place


# Project Gutenberg

MARKS = [
    ("*** START OF THE PROJECT GUTENBERG EBOOK THE RED KITE ***",
     "*** END OF THE PROJECT GUTENBERG EBOOK THE RED KITE ***"),
    ("*** START OF THIS PROJECT GUTENBERG EBOOK THE RED KITE ***",
     "End of the Project Gutenberg EBook of The Red Kite, by Odalys Wren"),
    ("***START OF THE PROJECT GUTENBERG EBOOK THE RED KITE***",
     "***END OF THE PROJECT GUTENBERG EBOOK THE RED KITE***"),
    ("*** START OF THE PROJECT GUTENBERG EBOOK THE RED KITE AND\nOTHER STORIES ***",
     "End of Project Gutenberg's The Red Kite, by Odalys Wren"),
    ("*END*THE SMALL PRINT! FOR PUBLIC DOMAIN ETEXTS*Ver.04.29.93*END*",
     "End of The Project Gutenberg Etext of The Red Kite"),
    ("*** START OF THE COPYRIGHTED PROJECT GUTENBERG EBOOK THE RED KITE ***",
     "*** END OF THE COPYRIGHTED PROJECT GUTENBERG EBOOK THE RED KITE ***"),
]  # fmt: skip


@pytest.mark.parametrize(("start", "end"), MARKS)
@pytest.mark.parametrize("ends", ["\n", "\r\n"])
def test_one_story_between_marks(
    tmp_path: Path, prep: Preparer, start: str, end: str, ends: str
) -> None:
    body = (
        "The Red Kite\n\nBy Odalys Wren\n\n[Illustration: A kite\nover a mill]\n\n"
        f"{wrapped(story(1, 40))}\n\nTHE END\n\n\n"
        "Transcriber's Notes:\n\nTwo commas were put in."
    )
    path = tmp_path / "pg1234.txt"
    path.write_bytes(gutenberg(body, start, end, "The Red Kite").replace("\n", ends).encode())
    source = open_source(str(path), set())
    assert source.kind == "gutenberg"
    assert source.licence.startswith("public domain")
    (manifest,) = prep(path, valid=0.0, test=0.0, max_words=2000)["sources"]
    assert manifest["trimmed"]["Project Gutenberg's header and licence"] == 1
    table_ = load_corpus(tmp_path / "out", "train")
    assert table_.column("text").to_pylist() == [story(1, 40)]
    assert table_.column("title").to_pylist() == ["The Red Kite"]
    assert table_.column("author").to_pylist() == ["Odalys Wren"]


@pytest.mark.parametrize("numbered", [False, True])
def test_a_collection_is_cut_at_its_headings(tmp_path: Path, numbered: bool) -> None:
    path = tmp_path / "kites.txt"
    text = gutenberg(collection(numbered=numbered))
    path.write_text(text)
    found = rows(path)
    assert [r.title for r in found] == [t.lower() for t in BOOK_TITLES] or [
        r.title for r in found
    ] == BOOK_TITLES
    assert [r.text for r in found] == [wrapped(story(n)) for n in range(3)]
    assert {r.author for r in found} == {"Odalys Wren"}
    assert len({r.id for r in found}) == 3
    lines = text.split("\n")
    places = [int(r.origin.split(":")[1]) for r in found]
    assert [BOOK_TITLES[i].upper() in lines[n - 1] for i, n in enumerate(places)] == [True] * 3


def test_the_chapters_of_a_novel_are_not_stories(tmp_path: Path) -> None:
    for name, titles, numbered in (
        ("chapters", [f"Chapter {n}. The Kite" for n in ("I", "II", "III")], False),
        ("numbers", BOOK_TITLES, True),
    ):
        path = tmp_path / f"{name}.txt"
        path.write_text(gutenberg(collection(titles, numbered), title="The Red Kite"))
        assert len(rows(path)) == 1, name


def test_a_book_whose_contents_do_not_come_again_is_one_text(tmp_path: Path) -> None:
    body = collection().replace("A KETTLE IN THE MILL", "ELSE").replace("THE OAR THAT SANG", "MORE")
    (tmp_path / "a.txt").write_text(gutenberg(body))
    assert len(rows(tmp_path / "a.txt")) == 1


def test_an_older_encoding_is_read_where_the_header_names_it(tmp_path: Path) -> None:
    body = f"Café Noël.\n\n{story(1)}"
    (tmp_path / "a.txt").write_bytes(gutenberg(body, encoding="ISO-8859-1").encode("latin-1"))
    (row,) = rows(tmp_path / "a.txt")
    assert "Café Noël." in row.text
    assert row.reason is None
    (tmp_path / "b.txt").write_bytes(gutenberg(body).encode("latin-1"))
    (row,) = rows(tmp_path / "b.txt")
    assert row.reason == "line is not UTF-8"


def test_what_only_speaks_of_gutenberg_stays_whole(tmp_path: Path) -> None:
    text = f"He read from Project Gutenberg.\n\n{story(1)}\n\nEnd of Project Gutenberg's page."
    (tmp_path / "a.txt").write_text(text)
    (row,) = rows(tmp_path / "a.txt")
    assert row.text == text


# Folders of tables


@pytest.mark.parametrize("kind", ["parquet", "jsonl", "csv"])
def test_a_folder_of_shards(tmp_path: Path, kind: str) -> None:
    folder = tmp_path / "shards"
    names = {"train-00000-of-00002": 1, "train-00001-of-00002": 2, "data/validation-00000": 3}
    for name, number in names.items():
        path = folder / f"{name}.{kind}"
        path.parent.mkdir(parents=True, exist_ok=True)
        if kind == "parquet":
            pq.write_table(pa.table({"id": [7], "text": [story(number)]}), path)
        elif kind == "jsonl":
            path.write_text(json.dumps({"id": 7, "text": story(number)}))
        else:
            path.write_bytes(table(["id", "text"], [["7", story(number)]]))
    (folder / "_SUCCESS").write_text("")
    (folder / ".cache").mkdir()
    (folder / ".cache" / f"old.{kind}").write_text("x")
    source = open_source(str(folder), set())
    assert source.kind == kind
    assert len(source.files) == 3
    found = list(source.rows())
    assert [(r.text, r.split) for r in found] == [
        (story(3), "valid"), (story(1), "train"), (story(2), "train"),
    ]  # fmt: skip
    assert found[0].id == "valid-7"
    line = 2 if kind == "csv" else 1
    assert found[0].origin == f"data/validation-00000.{kind}:{line}"


def test_author_and_title_of_json_lines(jsonl: Callable[..., Path]) -> None:
    (row,) = rows(jsonl([{"author": "Odalys", "title": "Kite", "text": story(1)}]))
    assert (row.author, row.title) == ("Odalys", "Kite")


# Data sets of the hub, saved on disk


def saved(path: Path, **splits: dict[str, list[Any]]) -> Path:
    datasets = pytest.importorskip("datasets")
    parts = {name: datasets.Dataset.from_dict(columns) for name, columns in splits.items()}
    data = datasets.DatasetDict(parts) if "" not in parts else parts[""]
    data.save_to_disk(str(path))
    return path


def test_a_saved_data_set_keeps_its_splits(tmp_path: Path, prep: Preparer) -> None:
    columns = {
        split: {
            "prompt": [f"[WP] Kite {n}" for n in numbers],
            "story": [story(n) + "\n\nEdit: thanks for reading!" for n in numbers],
        }
        for split, numbers in (("train", range(20)), ("validation", range(20, 24)))
    }
    path = saved(tmp_path / "writing_prompts", **columns)
    source = open_source(str(path), set())
    assert source.kind == "hub"
    assert source.research_only
    assert [r.split for r in source.rows()] == ["train"] * 20 + ["valid"] * 4
    assert next(source.rows()).origin == "writing_prompts/train:1"
    (counts,) = prep(f"hub:{path}")["sources"]
    assert (counts["splits"]["train"], counts["splits"]["valid"]) == (20, 4)
    assert counts["trimmed"]["edit note"] == 24, "they are posts of the web"
    assert set(load_corpus(tmp_path / "out", "train").column("prompt_tag").to_pylist()) == {"WP"}


def test_a_saved_data_set_without_splits_and_with_other_columns(tmp_path: Path) -> None:
    path = saved(tmp_path / "mine", **{"": {"q": ["A kite."], "a": [story(1)], "score": [1.5]}})
    (row,) = rows(f"hub:{path}", mapping={"prompt": "q", "story": "a"})
    assert (row.prompt, row.text, row.split) == ("A kite.", story(1), None)
    with pytest.raises(FabulaError, match=r"which column is the story.*'q', 'a', 'score'"):
        rows(f"hub:{path}")


def test_without_the_library_the_extra_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(MissingExtra, match=r"fabula\[corpus\]"):
        open_source("hub:owner/name", set())


def test_without_a_network_one_sentence_says_so(tmp_path: Path) -> None:
    pytest.importorskip("datasets")
    command = ["-c", "from fabula.cli import main; main()", "prepare", "hub:owner/name", "-o", "x"]
    done = subprocess.run(
        [sys.executable, *command],
        cwd=tmp_path,
        env={**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path / "home")},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 2
    assert "hub:owner/name: the hub cannot be reached" in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "x").exists()


def test_help_tells_every_kind() -> None:
    command = [sys.executable, "-c", "from fabula.cli import main; main()", "prepare", "--help"]
    env = {**os.environ, "COLUMNS": "200"}
    shown = subprocess.run(command, capture_output=True, text=True, env=env, timeout=60).stdout
    assert [kind for kind in KINDS if kind not in shown] == []
