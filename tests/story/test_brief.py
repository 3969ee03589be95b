"""Briefs: what is accepted, and the sentence that refuses the rest."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from fabula.errors import FabulaError
from fabula.story import Brief, dump_brief, load_brief, parse_data, validate
from fabula.story.sample import load_annotated, load_sample, propose_splits, split_of


def refusal(tmp_path: Path, content: str | bytes, name: str = "brief.yaml") -> str:
    path = tmp_path / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    with pytest.raises(FabulaError) as error:
        load_brief(path)
    text = str(error.value)
    assert name in text
    assert "\n" not in text
    return text


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "the brief is empty"),
        ("{}", "the brief is empty"),
        ("setting: {}", "the brief is empty"),
        ("gener: horror", "did you mean 'genre'"),
        ("setting: {plaice: a hut}", "did you mean 'place'"),
        ("characters: [{nmae: Mara}]", "did you mean 'name'"),
        ("characters: [{role: ally}]", "neither a name nor a trait"),
        ("arc: man in a whole", "did you mean 'man in a hole'"),
        ("ending: happily", "did you mean 'happy'"),
        ("genre: [a, b]", "genre"),
        ("length: 3", "length"),
        ("genre: horror\ngenre: comedy", "line 2"),
        ("a: &x 1\nb: *x", "aliases"),
        ("genre: 'horror", "line"),
        ("- genre", "expected keys and values"),
        ("arc: icarus\nending: happy", "contradicts itself"),
        ("arc: cinderella\nending: sad", "contradicts itself"),
        ("characters: [{name: Mara}, {name: mara}]", "two characters"),
        ("length: 20\nmust_include: [one two three four five six seven eight nine ten eleven]",
         "does not fit"),
        ("premise: \"a\\0b\"", "control character"),
        (b"genre: horr\xff", "not UTF-8"),
        (b"\x7fELF\0\0", "binary"),
        (b"genre: " + b"x" * 10_000_000, "10.0 MB"),
        ("genre: " + "x" * 400, "genre"),
        ("[" * 5_000, "not YAML"),
    ],
)  # fmt: skip
def test_refusals(tmp_path: Path, content: str | bytes, said: str) -> None:
    assert said in refusal(tmp_path, content)


def test_a_broken_json_brief_names_its_line(tmp_path: Path) -> None:
    assert "line 2" in refusal(tmp_path, '{"genre":\n horror}', "brief.json")


def test_missing_file_and_folder(tmp_path: Path) -> None:
    with pytest.raises(FabulaError, match="No such file"):
        load_brief(tmp_path / "none.yaml")
    with pytest.raises(FabulaError, match="is a folder"):
        load_brief(tmp_path)


def test_yaml_and_json_say_the_same(tmp_path: Path) -> None:
    brief = load_sample("train")[0].brief
    (tmp_path / "b.yaml").write_text(dump_brief(brief))
    (tmp_path / "b.json").write_text(brief.model_dump_json())
    assert load_brief(tmp_path / "b.yaml") == load_brief(tmp_path / "b.json") == brief


def test_gold_labels_are_a_brief() -> None:
    """Traits may carry their evidence, as the sample corpus writes them."""
    row = load_sample("train")[0].model_dump()
    keys = Brief.model_fields.keys() & row.keys()
    brief = validate(Brief, json.loads(json.dumps({k: row[k] for k in keys})), "row")
    assert brief.characters[0].traits == [t["trait"] for t in row["characters"][0]["traits"]]


def test_case_is_forgiven_in_closed_lists() -> None:
    brief = validate(Brief, {"arc": "Man in a Hole", "ending": "Happy"}, "x")
    assert (brief.arc, brief.ending) == ("man in a hole", "happy")


def test_no_python_objects_from_yaml() -> None:
    with pytest.raises(FabulaError):
        parse_data("x: !!python/object/apply:os.system ['true']", "x.yaml")


def test_the_splits_are_fixed_and_apart() -> None:
    splits = split_of()
    assert len(load_sample("test")) == 90
    assert len(load_sample("valid")) == 644
    assert {s.id for s in load_sample("test")}.isdisjoint({s.id for s in load_sample("train")})
    assert {k: v for k, v in splits.items() if v != "train"} == propose_splits()
    # They are looked for in one file only.
    assert [s for s in load_sample() if splits[s.id] == "test"] == load_sample("test")
    train = load_sample("train")
    assert [s for s in train if s.theme is not None] == load_annotated()


def test_gold_labels_are_true_of_their_texts() -> None:
    for story in load_sample():
        low = " ".join(b.text for b in story.beats).lower()
        for phrase in story.must_include:
            assert phrase.lower() in low, (story.id, phrase)
        for character in story.characters:
            for trait in character.traits:
                assert trait.evidence.lower() in low, (story.id, trait)


def test_dump_is_plain_yaml() -> None:
    text = dump_brief(Brief(genre="horror"))
    assert yaml.safe_load(text) == {"genre": "horror"}
