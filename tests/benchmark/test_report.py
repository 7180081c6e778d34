"""Figures, ratios, table and chart from known times."""

from __future__ import annotations

import json
from xml.etree import ElementTree

import pytest

from yolov3.benchmark import Entry, Report
from yolov3.benchmark.report import Spread
from yolov3.charts import Bar, bar_chart

SVG = "{http://www.w3.org/2000/svg}"


def report(*entries: Entry) -> Report:
    machine = {"processor": "Some CPU", "cores": 2, "system": "x", "python": "3", "versions": {"numpy": "2"}}
    return Report(machine, "net", (416, 416), 1, 2, 2, int(5e9), 200e9, list(entries), [])


def engine() -> Entry:
    """Network 50 ms; two turns, the second on a slower machine."""
    return Entry("ncnn", False, 0.5, 0.1, [[0.05, 0.05], [0.05, 0.05]], [[0.06, 0.06], [0.12, 0.12]], 3, 100 << 20)


def peer() -> Entry:
    return Entry("opencv", True, 0.1, 0.2, [[0.1, 0.1], [0.2, 0.2]], [[0.09, 0.09], [0.24, 0.24]], 3, None)


def test_the_quarters_of_figures() -> None:
    assert Spread.of([3.0]) == (3.0, 3.0, 3.0)
    assert Spread.of([5.0, 1.0, 2.0, 4.0, 3.0]) == (3.0, 2.0, 4.0)


def test_ratios_compare_turns_of_one_round() -> None:
    """1.5 in the first round and 2 in the second, however much the machine slowed down between them."""
    assert engine().times_as_fast(peer()) == pytest.approx((1.75, 1.5, 2.0))
    assert peer().times_as_fast(engine()).median == pytest.approx((1 / 1.5 + 1 / 2) / 2)


def test_the_share_of_the_peak() -> None:
    """5 GFLOP in 50 ms are 100 GFLOP/s, half of what the machine can; a peer's network may be another one."""
    assert report(engine()).share_of_peak(engine()) == pytest.approx(0.5)
    assert report(engine(), peer()).share_of_peak(peer()) is None


def test_the_table() -> None:
    lines = report(engine(), peer()).table().splitlines()
    ncnn, opencv = (next(line for line in lines if line.startswith(name)) for name in ("ncnn", "opencv"))
    assert "50.0 (50.0–50.0)" in ncnn and "50%" in ncnn and " 100 " in ncnn
    assert ncnn.count("█") > opencv.count("█") > 0
    assert "times as fast as opencv: ncnn 1.75 (1.50–2.00)" in lines
    assert any("200 GFLOP/s" in line and "sgemm" in line for line in lines)
    assert lines[-1] == "Some CPU, 2 cores; Python 3, numpy 2"


def test_json() -> None:
    found = json.loads(json.dumps(report(engine(), peer()).to_dict()))
    assert [each["kind"] for each in found["contenders"]] == ["engine", "peer"]
    assert found["contenders"][0]["network_seconds"] == {"median": 0.05, "low": 0.05, "high": 0.05}
    assert found["contenders"][1]["peak_memory_bytes"] is None
    assert found["times_as_fast"]["opencv"]["ncnn"]["high"] == pytest.approx(2)


def test_the_chart_is_plain_svg() -> None:
    root = ElementTree.fromstring(report(engine(), peer()).chart())
    assert {element.tag for element in root.iter()} <= {SVG + tag for tag in ("svg", "rect", "path", "text", "title")}
    words = [text.text for text in root.iter(SVG + "text")]
    assert "ncnn" in words and "opencv" in words and "net at 416×416, batch 1" in words


def test_bars_are_as_long_as_their_values() -> None:
    bars = [Bar("<a>", 10, 9, 11), Bar("b", 5, 5, 5, main=False), Bar("c" * 60, 0, 0, 0)]
    root = ElementTree.fromstring(bar_chart(bars, title="<t>", x_label="&"))
    first, second, third = (float(rect.attrib["width"]) for rect in root.findall(SVG + "rect")[1:])
    assert first == pytest.approx(2 * second, rel=0.01) and third == 0
    right = float(root.attrib["width"])
    for text in root.iter(SVG + "text"):
        assert 0 < float(text.attrib["x"]) < right
    ElementTree.fromstring(bar_chart([], title="none", x_label="x"))
