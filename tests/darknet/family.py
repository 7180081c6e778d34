"""The cfgs of yolov3, yolov3-spp and yolov3-tiny, built from the networks' structure (YOLOv3, table 1)."""

from __future__ import annotations

from .writer import Section, cfg_text, conv, head, maxpool, net, route, shortcut, upsample

TINY_ANCHORS = (10, 14, 23, 27, 37, 58, 81, 82, 135, 169, 344, 319)


def _five(channels: int) -> list[Section]:
    return [conv(channels * (1 + place % 2), 1 + 2 * (place % 2)) for place in range(5)]


def _pyramid() -> list[Section]:
    return [
        *(maxpool(5, 1), route(-2), maxpool(9, 1), route(-4), maxpool(13, 1)),
        route(-1, -3, -5, -6),
    ]


def yolov3_sections(
    *, classes: int = 80, divide: int = 1, width: int = 416, height: int = 416, spp: bool = False
) -> list[Section]:
    """Darknet-53 and three heads; `divide` makes every layer so much thinner."""
    sections = [net(width, height), conv(32 // divide)]
    ends = []  # the last layer of each stage
    for channels, blocks in ((64, 1), (128, 2), (256, 8), (512, 8), (1024, 4)):
        sections.append(conv(channels // divide, 3, 2))
        for _ in range(blocks):
            sections += [conv(channels // divide // 2, 1), conv(channels // divide), shortcut(-3)]
        ends.append(len(sections) - 2)
    for place, (channels, mask) in enumerate(((512, (6, 7, 8)), (256, (3, 4, 5)), (128, (0, 1, 2)))):
        if place:
            sections += [route(-4), conv(channels // divide, 1), upsample(), route(-1, ends[4 - place])]
        five = _five(channels // divide)
        if spp and not place:
            five[3:3] = [*_pyramid(), conv(channels // divide, 1)]
        sections += [*five, conv(2 * channels // divide), *head(mask, classes)]
    return sections


def tiny_sections(
    *, classes: int = 80, divide: int = 1, width: int = 416, height: int = 416, small_mask: tuple[int, ...] = (0, 1, 2)
) -> list[Section]:
    """Seven convolutions and max-pools, two heads."""
    sections: list[Section] = [net(width, height)]
    for channels in (16, 32, 64, 128, 256):
        sections += [conv(channels // divide), maxpool()]
    sections += [conv(512 // divide), maxpool(2, 1), conv(1024 // divide), conv(256 // divide, 1)]
    sections += [conv(512 // divide), *head((3, 4, 5), classes, TINY_ANCHORS)]
    sections += [route(-4), conv(128 // divide, 1), upsample(), route(-1, 8)]
    sections += [conv(256 // divide), *head(small_mask, classes, TINY_ANCHORS)]
    return sections


def family_text(name: str, **options: object) -> str:
    """Cfg text of `yolov3`, `yolov3-spp` or `yolov3-tiny`."""
    if name == "yolov3-tiny":
        return cfg_text(tiny_sections(**options))  # type: ignore[arg-type]
    return cfg_text(yolov3_sections(spp=name == "yolov3-spp", **options))  # type: ignore[arg-type]
