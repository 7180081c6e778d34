"""What an evaluation leaves: the card asks for nothing and runs nothing; charts are XML; the command line."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import cv2
import numpy as np
import pytest

from yolov3 import charts
from yolov3.evaluation.report import draw_charts, evaluation_card, write_report
from yolov3.evaluation.scoring import Evaluation, score
from yolov3.evaluation.truth import GroundTruth

from .makers import SIZE, box, found, predictions_of, sample_of, truth_of

EVIL = "<script>alert('1')</script>\" onload=x \x00"


def evaluation_of(names: tuple[str, ...], image: Path = Path("gone.png"), **more: Any) -> Evaluation:
    """A hit, a false positive of every kind, a miss."""
    boxes = [box(0, 0, 100, 100, 0), box(200, 0, 100, 100, 1), box(400, 200, 100, 100, 0)]
    truth = GroundTruth.from_samples([sample_of(1, boxes, image)], names, range(1, len(names) + 1))
    entries = [
        found(1, 0, 0, 100, 100, 0, 0.55),
        found(1, 200, 0, 100, 95, 0, 0.8),
        found(1, 500, 300, 50, 50, 0, 0.7),
        found(1, 400, 260, 100, 100, 0, 0.6),
    ]
    return score(truth, predictions_of(truth, entries), resamples=20, **more)


class Page(HTMLParser):
    """The tags and attributes of a page, and its text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture
def picture(tmp_path: Path, rng: np.random.Generator) -> Path:
    path = tmp_path / "picture.png"
    cv2.imwrite(str(path), rng.integers(0, 255, (SIZE[1], SIZE[0], 3), dtype=np.uint8))
    return path


def card_of(evaluation: Evaluation) -> str:
    return evaluation_card(evaluation, draw_charts(evaluation))


def test_the_card_holds_numbers_curves_and_thumbnails(picture: Path) -> None:
    evaluation = evaluation_of(
        ("cat", "dog"), picture, about={"model": "m.safetensors", "data": "d.yaml"}, notes=["a note"]
    )
    page = Page(card_of(evaluation))
    for words in (
        "Evaluation of m.safetensors on d.yaml",
        "a note",
        f"{evaluation.metrics['AP']:.3f}",
        "cat, labelled dog",
    ):
        assert words in page.text
    assert page.tags.count("svg") == 3
    sources = [value for name, value in page.attributes if name == "src"]
    assert len(sources) >= 6
    for value in sources:
        jpeg = base64.b64decode(value.removeprefix("data:image/jpeg;base64,"), validate=True)
        thumbnail = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
        assert max(thumbnail.shape[:2]) == 220


def test_fault_123_names_with_markup_are_text_everywhere(picture: Path) -> None:
    page = Page(
        card_of(evaluation_of((EVIL, "dog"), picture, about={"model": EVIL, "data": EVIL, EVIL: EVIL}, notes=[EVIL]))
    )
    assert "script" not in page.tags
    assert not [name for name, _ in page.attributes if name.startswith("on")]
    assert "<script>alert('1')</script>" in page.text
    assert "\x00" not in page.text


def test_the_card_asks_for_nothing_and_allows_nothing(picture: Path) -> None:
    text = card_of(evaluation_of(("cat", "dog"), picture))
    page = Page(text)
    assert not {"script", "link", "iframe", "object", "embed", "form", "base"} & set(page.tags)
    for name, value in page.attributes:
        assert name != "style"
        if name in ("src", "href", "data", "action", "srcset", "poster", "background"):
            assert value.startswith("data:image/jpeg;base64,")
    assert re.findall(r"https?://[^\"]*", text.replace('xmlns="http://www.w3.org/2000/svg"', "")) == []
    assert "@import" not in text
    assert "url(" not in text
    policy = next(value for name, value in page.attributes if name == "content" and "default-src" in value)
    style = re.search(r"<style>(.*?)</style>", text, re.DOTALL)
    assert style is not None
    digest = base64.b64encode(hashlib.sha256(style[1].encode()).digest()).decode()
    assert policy == f"default-src 'none'; img-src data:; style-src 'sha256-{digest}'"


def test_a_picture_that_is_gone_leaves_a_card_without_its_thumbnail(picture: Path) -> None:
    assert "(no picture)" in card_of(evaluation_of(("cat", "dog")))
    cv2.imwrite(str(picture), np.zeros((10, 10, 3), np.uint8))  # not the size of the labels
    assert "(no picture)" in card_of(evaluation_of(("cat", "dog"), picture))


def test_boxes_beyond_the_picture_have_thumbnails(picture: Path) -> None:
    truth = GroundTruth.from_samples([sample_of(1, [box(600, 440, 40, 40, 0)], picture)], ["cat"])
    entries = [
        {"image_id": 1, "category_id": 0, "bbox": xywh, "score": 0.9}
        for xywh in ([-50, -50, 20, 20], [9000, 9000, 50, 50], [0, 0, 1e7, 1e7], [5, 5, 0, 0], [-1e9, 0, 2e9, 1])
    ]
    assert "(no picture)" not in card_of(score(truth, predictions_of(truth, entries), resamples=0))


def test_nothing_scored_is_a_card_of_n_a() -> None:
    truth = truth_of({1: []})
    text = Page(card_of(score(truth, predictions_of(truth, [])))).text
    assert "n/a" in text
    assert "there is no object to find" in text


def test_the_report_is_five_files_and_charts_are_xml(tmp_path: Path) -> None:
    evaluation = evaluation_of((EVIL, "dog"))
    paths = write_report(tmp_path, evaluation)
    names = ["card.html", "metrics.json", "precision_recall.svg", "f1_confidence.svg", "confusion.svg"]
    assert [path.name for path in paths] == names
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(names)
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    assert {"metrics", "per_class", "interval", "speed"} <= metrics.keys()
    assert metrics["metrics"] == evaluation.metrics
    for name in names[2:]:
        root = ElementTree.fromstring((tmp_path / name).read_text())
        assert not [element for element in root.iter() if element.tag.endswith("script")]


@pytest.mark.parametrize("classes", [1, 3, 12, 200])
def test_charts_of_few_and_many_classes_are_xml_of_bounded_size(classes: int) -> None:
    names = tuple(f"class {label}" for label in range(classes))
    boxes = [box(label % 30 * 20, label // 30 * 20, 15, 15, label) for label in range(classes)]
    truth = truth_of({1: boxes}, names)
    entries = [found(1, *entry["xywh"], entry["label"], 0.5) for entry in boxes[::2]]
    evaluation = score(truth, predictions_of(truth, entries), resamples=0)
    for name, svg in draw_charts(evaluation).items():
        root = ElementTree.fromstring(svg)
        lines = [element for element in root.iter() if element.tag.endswith("polyline")]
        assert len(svg) < 300_000
        assert len(lines) == (0 if name == "confusion" else min(classes, 60) + 1)


def test_text_in_charts_is_escaped() -> None:
    assert charts.escape("<a & 'b'\x07\ud800\n>") == "&lt;a &amp; &#x27;b&#x27;���&gt;"
    svg = charts.line_chart([charts.Curve(EVIL, [0, 1], [0, 1])], title=EVIL, x_label=EVIL, y_label=EVIL)
    assert ElementTree.fromstring(svg).get("aria-label") == EVIL.replace("\x00", "\N{REPLACEMENT CHARACTER}")


# --------------------------------------------------------------------------------- command line


@pytest.fixture
def coco_data(tmp_path: Path, photo: Path) -> Path:
    """A COCO dataset of one photo with the cup on it, ids from 0; three classes, one of which never occurs."""
    (tmp_path / "images").mkdir()
    picture = tmp_path / "images" / "cup.jpg"
    picture.write_bytes(photo.read_bytes())
    height, width = cv2.imread(str(picture)).shape[:2]
    from yolov3.runtime import Detector

    cup = next(box for box, _, name in Detector("yolov3-tiny")(picture) if name == "cup").tolist()
    document = {
        "images": [{"id": 0, "file_name": "cup.jpg", "width": width, "height": height}],
        "annotations": [
            {"id": 0, "image_id": 0, "category_id": 0, "bbox": [*cup[:2], cup[2] - cup[0], cup[3] - cup[1]]},
        ],
        "categories": [{"id": 0, "name": "cup"}, {"id": 7, "name": "bottle"}, {"id": 9, "name": "dog"}],
    }
    (tmp_path / "instances_val.json").write_text(json.dumps(document))
    return tmp_path / "instances_val.json"


def test_the_command_runs_scores_and_writes_everything(
    coco_data: Path, cli: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    results = tmp_path / "results.json"
    done = cli("evaluate", coco_data, "--json", "--predictions", results, "--resamples", "10")
    assert done.code == 0, done.err
    record = json.loads(done.out)
    assert record["metrics"]["AP"] == pytest.approx(1.0)
    assert [score["name"] for score in record["per_class"]] == ["cup", "bottle", "dog"]
    assert record["per_class"][2]["AP"] is None
    assert record["interval"]["resamples"] == 10
    assert record["speed"]["network_ms"] > 0
    assert (record["pictures"], record["objects"]) == (1, 1)
    assert json.loads(Path("runs/evaluate/exp/metrics.json").read_text()) == record
    assert "the evaluation card is runs/evaluate/exp/card.html" in done.err

    again = cli(
        "evaluate", coco_data, "--from-predictions", results, "--json", "--resamples", "10", "--output", "second"
    )
    assert again.code == 0, again.err
    scored = json.loads(again.out)
    for key in ("metrics", "per_class", "interval", "confusion", "suspected_labels", "detections"):
        assert scored[key] == record[key]
    assert scored["speed"] is None
    assert Path("second/card.html").is_file()


def test_the_table_and_the_errors_of_the_command(
    coco_data: Path, cli: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    results = tmp_path / "results.json"
    results.write_text("[]")
    done = cli("evaluate", coco_data, "--from-predictions", results, "--no-save")
    assert done.code == 0, done.err
    assert re.search(r"^cup +1 +0\.0000 +0\.0000 +n/a +0\.0000 +0\.0000$", done.out, re.MULTILINE)
    assert "AP_small n/a" in done.out
    assert not (tmp_path / "runs").exists()
    assert cli("evaluate", coco_data, "--split", "test").code == 0  # a single COCO file is one split, whatever its name
    assert cli("evaluate", tmp_path / "gone.json").code == 3
    for option in (("--model", "x.safetensors"), ("--size", "416"), ("--predictions", "other.json")):
        refused = cli("evaluate", coco_data, "--from-predictions", results, *option)
        assert refused.code == 2
        assert f"{option[0]} goes with running a model, not with --from-predictions" in refused.err
    results.write_text('[{"image_id": 5}]')
    wrong = cli("evaluate", coco_data, "--from-predictions", results)
    assert wrong.code == 3
    assert "results.json: entry 0: no category_id" in wrong.err


def test_help_has_an_example(cli: Callable[..., Any]) -> None:
    assert "Example: yolov3 evaluate data.yaml" in cli("evaluate", "--help").out
