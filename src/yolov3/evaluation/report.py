"""What an evaluation leaves behind: metrics.json, charts, and the evaluation card, one HTML page that holds all.

The page asks for nothing from outside and runs nothing: no script, no inline style, pictures as data, everything that
comes from names and files escaped, and a content security policy that holds it to that.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterable, Sequence
from pathlib import Path

from ..charts import Curve, escape, line_chart, matrix_chart
from ..files import write_atomic
from .coco import RECALL_POINTS
from .curves import CONFIDENCES
from .findings import Finding, largest_misses, suspected_labels, worst_false_positives
from .gallery import thumbnails
from .scoring import MOST_SUSPECTS, ClassScore, Evaluation

GALLERY = 24
MOST_CURVES = 60
MOST_IN_MATRIX = 80

_STYLE = """
:root { color-scheme: light; }
body { font: 15px/1.5 system-ui, sans-serif; color: #222; background: #fff; max-width: 1080px; margin: 2rem auto;
  padding: 0 1rem; }
h1 { font-size: 1.6rem; margin-bottom: 0.2rem; }
h2 { font-size: 1.2rem; margin-top: 2.2rem; border-bottom: 1px solid #ddd; padding-bottom: 0.2rem; }
table { border-collapse: collapse; }
th, td { padding: 0.15rem 0.7rem; text-align: right; border-bottom: 1px solid #eee; }
td { font-variant-numeric: tabular-nums; }
th:first-child, td:first-child { text-align: left; }
tr.absent { color: #888; }
.scroll { overflow-x: auto; }
.numbers { display: flex; flex-wrap: wrap; gap: 1.6rem; margin: 1rem 0; }
.numbers div { min-width: 6rem; }
.numbers b { display: block; font-size: 1.7rem; font-weight: 600; }
.numbers span, .about, figcaption { color: #555; font-size: 0.85rem; }
.note { background: #fff6e0; border-left: 4px solid #e69f00; padding: 0.4rem 0.8rem; margin: 0.5rem 0; }
.gallery { display: flex; flex-wrap: wrap; gap: 1rem; }
figure { margin: 0; width: 220px; }
figure img { max-width: 220px; display: block; background: #eee; }
figcaption { overflow-wrap: anywhere; }
.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(420px, 1fr)); gap: 0.5rem; }
svg { max-width: 100%; height: auto; }
.predicted { color: #b34700; font-weight: 600; }
.label { color: #00719c; font-weight: 600; }
"""


def write_report(folder: Path, evaluation: Evaluation) -> list[Path]:
    """Write `card.html`, `metrics.json` and the charts as SVG into a folder that is there; the paths, card first.

    Raises:
        Yolov3Error: a file can't be written.
    """
    charts = draw_charts(evaluation)
    texts = {
        "card.html": evaluation_card(evaluation, charts),
        "metrics.json": json.dumps(evaluation.to_dict(), indent=1, ensure_ascii=False) + "\n",
        **{f"{name}.svg": svg for name, svg in charts.items()},
    }
    for name, text in reversed(texts.items()):  # a folder with a card is complete
        write_atomic(folder / name, text)
    return [folder / name for name in texts]


def draw_charts(evaluation: Evaluation) -> dict[str, str]:
    """`precision_recall`, `f1_confidence` and `confusion` as SVG text. Of very many classes the most frequent."""
    truth, names = evaluation.truth, evaluation.truth.names
    frequent = [label for label in (-truth.objects).argsort(kind="stable").tolist() if truth.objects[label]]
    shown = frequent[:MOST_CURVES]
    recall, step = RECALL_POINTS.tolist(), 10
    confidence = CONFIDENCES[::step].tolist()
    precision_curves = [Curve(names[label], recall, evaluation.coco.precision_at_50(label).tolist()) for label in shown]
    precision_curves.append(Curve("all classes", recall, evaluation.coco.precision_at_50().tolist(), main=True))
    f1_curves = [Curve(names[label], confidence, evaluation.curves.f1[label, ::step].tolist()) for label in shown]
    f1_curves.append(Curve("all classes", confidence, evaluation.curves.mean_f1[::step].tolist(), main=True))
    return {
        "precision_recall": line_chart(
            precision_curves, title="Precision and recall at IoU 0.50", x_label="recall", y_label="precision"
        ),
        "f1_confidence": line_chart(
            f1_curves, title="F1 and confidence at IoU 0.50", x_label="confidence", y_label="F1"
        ),
        "confusion": _confusion_chart(evaluation),
    }


def _confusion_chart(evaluation: Evaluation) -> str:
    """The classes that occur, by number of objects and detections, and "nothing"."""
    matrix = evaluation.mistakes.confusion
    weight = matrix[:-1].sum(axis=1) + matrix[:, :-1].sum(axis=0)
    chosen = sorted(label for label in (-weight).argsort(kind="stable")[:MOST_IN_MATRIX].tolist() if weight[label])
    cells = matrix[[*chosen, -1]][:, [*chosen, -1]].tolist()
    names = [*(evaluation.truth.names[label] for label in chosen), "(nothing)"]
    return matrix_chart(cells, names, title=f"Confusion at confidence {evaluation.best.confidence:.3f} and IoU 0.50")


# ------------------------------------------------------------------------------------------------ card


def evaluation_card(evaluation: Evaluation, charts: dict[str, str]) -> str:
    """The evaluation card as the text of an HTML page."""
    style_hash = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
    policy = f"default-src 'none'; img-src data:; style-src 'sha256-{style_hash}'"
    title = (
        f"Evaluation of {evaluation.about.get('model', 'a detector')} on {evaluation.about.get('data', 'a dataset')}"
    )
    body = [
        f"<h1>{escape(title)}</h1>",
        _about(evaluation),
        *(f'<p class="note">{escape(note)}</p>' for note in evaluation.notes),
        _headline(evaluation),
        _section("Curves", f'<div class="charts">{charts["precision_recall"]}{charts["f1_confidence"]}</div>'),
        _section("Classes", _class_table(evaluation)),
        _section("Confusion", f'<p>{_CONFUSION_WORDS}</p><div class="scroll">{charts["confusion"]}</div>'),
        *_galleries(evaluation),
        _section("How it was measured", _method(evaluation)),
    ]
    return "\n".join(
        [
            "<!doctype html>",
            '<html lang="en"><head><meta charset="utf-8">',
            f'<meta http-equiv="Content-Security-Policy" content="{policy}">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>{escape(title)}</title>",
            f"<style>{_STYLE}</style></head><body>",
            *body,
            "</body></html>\n",
        ]
    )


_CONFUSION_WORDS = (
    "Rows are the truth, columns what was predicted; “(nothing)” is no object, or no detection. The diagonal holds the "
    "true positives of the table above; a row's sum is the number of objects, a column's that of the detections."
)


def _section(title: str, content: str) -> str:
    return f"<section><h2>{escape(title)}</h2>{content}</section>"


def _about(evaluation: Evaluation) -> str:
    words = [f"{key}: {value}" for key, value in evaluation.about.items() if key not in ("model", "data")]
    words.append(f"{len(evaluation.truth.samples):,} pictures")
    words.append(f"{int(evaluation.truth.objects.sum()):,} objects")
    words.append(f"{len(evaluation.predictions):,} detections")
    return f'<p class="about">{escape(" · ".join(words))}</p>'


def _headline(evaluation: Evaluation) -> str:
    interval = evaluation.interval
    bounds = {"AP": interval and interval.AP, "AP50": interval and interval.AP50}
    tiles = []
    for name in ("AP", "AP50", "AP75", "AP_small", "AP_medium", "AP_large", "AR100"):
        pair = bounds.get(name)
        below = f"{pair[0]:.3f} to {pair[1]:.3f}" if pair else ""
        tiles.append(
            f"<div>{escape(name.replace('_', ' '))}<b>{_number(evaluation.metrics[name])}</b><span>{below}</span></div>"
        )
    best, speed = evaluation.best, evaluation.speed
    lines = [f'<div class="numbers">{"".join(tiles)}</div>']
    if best.f1 is not None:
        lines.append(
            f"<p>At confidence {best.confidence:.3f}, where the mean F1 is largest: F1 {_number(best.f1)}, precision "
            f"{_number(best.precision)}, recall {_number(best.recall)} (means over classes, IoU 0.50).</p>"
        )
    if speed is not None:
        stages = [("decode", speed.decode), ("letterbox", speed.letterbox), ("network", speed.network)]
        stages += [("suppression", speed.nms), ("detection in all", speed.detect)]
        words = ", ".join(f"{name} {value:.1f} ms" for name, value in stages if value is not None)
        lines.append(f"<p>Speed a picture: {words}.</p>")
    return "".join(lines)


def _number(value: float | None) -> str:
    return "n/a" if value is None else f"{value:.3f}"


def _class_table(evaluation: Evaluation) -> str:
    columns = ("AP", "AP50", "AP75", "AR100", "precision", "recall", "F1")
    head = "".join(f'<th scope="col">{name}</th>' for name in ("class", "pictures", "objects", "detections", *columns))
    rows = "".join(map(_class_row, evaluation.per_class))
    words = (
        f"Precision, recall and F1 at confidence {evaluation.best.confidence:.3f} and IoU 0.50. "
        "A class without objects is in no mean."
    )
    return f'<p>{words}</p><div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>'


def _class_row(score: ClassScore) -> str:
    counts = (score.pictures, score.objects, score.detections)
    values = (score.AP, score.AP50, score.AP75, score.AR100, score.precision, score.recall, score.f1)
    cells = [*(f"{count:,}" for count in counts), *map(_number, values)]
    kind = "" if score.objects else ' class="absent"'
    return f'<tr{kind}><th scope="row">{escape(score.name)}</th>{"".join(f"<td>{cell}</td>" for cell in cells)}</tr>'


def _galleries(evaluation: Evaluation) -> list[str]:
    truth, predictions, mistakes = evaluation.truth, evaluation.predictions, evaluation.mistakes
    parts = (
        (
            "Suspected label errors",
            "Where a sure detection and the labels contradict each other, or one object seems to be labelled twice. "
            "Look before you change anything: the model may be what is wrong.",
            suspected_labels(truth, predictions, mistakes, MOST_SUSPECTS),
        ),
        (
            "Worst false positives",
            "Detections of the best scores that found no object of their class.",
            worst_false_positives(truth, predictions, mistakes, GALLERY),
        ),
        (
            "Largest misses",
            f"Objects that no detection of their class found at confidence {mistakes.confidence:.3f}.",
            largest_misses(truth, mistakes, GALLERY),
        ),
    )
    findings = [finding for _, _, members in parts for finding in members]
    pictures = iter(thumbnails(truth, findings))
    key = '<span class="predicted">orange: detection</span>, <span class="label">blue: label</span>.'
    sections = []
    for title, words, members in parts:
        figures = "".join(_figure(evaluation, finding, next(pictures)) for finding in members) or "<p>None.</p>"
        sections.append(_section(title, f'<p>{escape(words)} {key}</p><div class="gallery">{figures}</div>'))
    return sections


def _figure(evaluation: Evaluation, finding: Finding, jpeg: str | None) -> str:
    words = finding.words if finding.score is None else f"{finding.words} ({finding.score:.2f})"
    where = Path(finding.place).name
    picture = f'<img alt="{escape(words)}" src="data:image/jpeg;base64,{jpeg}">' if jpeg else "<p>(no picture)</p>"
    image_id = evaluation.truth.samples[finding.image].image_id
    caption = f"{escape(words)}<br>picture {escape(image_id)}, {escape(where)}"
    return f"<figure>{picture}<figcaption>{caption}</figcaption></figure>"


def _method(evaluation: Evaluation) -> str:
    lines = [
        "AP is COCO's: the mean over classes and IoU thresholds 0.50 to 0.95 of the precision at 101 recalls, with at "
        "most 100 detections of a class in a picture; computed by faster-coco-eval.",
        "Crowd regions, and objects that Pascal VOC calls difficult, count neither for nor against.",
        "Small, medium and large are below 32², below 96² and from 96² pixels of the original picture.",
    ]
    if evaluation.interval is not None:
        lines.append(
            f"The range below AP and AP50 holds {evaluation.interval.level:.0%} of {evaluation.interval.resamples:,} "
            "scores of as many pictures drawn anew with replacement, centred on the score."
        )
    return _list(lines)


def _list(lines: Iterable[str] | Sequence[str]) -> str:
    return "<ul>" + "".join(f"<li>{escape(line)}</li>" for line in lines) + "</ul>"
