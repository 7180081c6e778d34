"""The cfgs of yolov3, yolov3-spp and yolov3-tiny, built from the networks' structure (YOLOv3, table 1).

And two of the next generation, with all that AlexeyAB's Darknet added: yolov4 and yolov4-tiny (Bochkovskiy et al. 2020;
Wang et al. 2021).
"""

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


def yolov4_tiny_sections(*, classes: int = 80, divide: int = 1, width: int = 416, height: int = 416) -> list[Section]:
    """Three blocks that take one half of their channels through three convolutions."""
    sections: list[Section] = [net(width, height), conv(32 // divide, 3, 2), conv(64 // divide, 3, 2)]
    for channels in (64 // divide, 128 // divide, 256 // divide):
        half = channels // 2
        sections += [conv(channels), route(-1, groups=2, group_id=1), conv(half), conv(half), route(-1, -2)]
        sections += [conv(channels, 1), route(-6, -1), maxpool()]
    sections += [conv(512 // divide), conv(256 // divide, 1), conv(512 // divide)]
    sections += [*head((3, 4, 5), classes, TINY_ANCHORS, scale_x_y=1.05), route(-4), conv(128 // divide, 1), upsample()]
    sections += [route(-1, 23), conv(256 // divide), *head((1, 2, 3), classes, TINY_ANCHORS, scale_x_y=1.05)]
    return sections


def yolov4_sections(*, classes: int = 80, divide: int = 1, width: int = 608, height: int = 608) -> list[Section]:
    """CSPDarknet-53 with mish, SPP, and a path down and up again; small objects come first in the file."""

    def mish(channels: int, size: int = 3, stride: int = 1) -> Section:
        return conv(channels // divide, size, stride, "mish")

    def leaky(*layers: tuple[int, int]) -> list[Section]:
        return [conv(channels // divide, size) for channels, size in layers]

    def five(channels: int) -> list[Section]:
        return leaky(*[(channels, 1), (2 * channels, 3)] * 2, (channels, 1))

    sections = [net(width, height), mish(32)]
    ends = []
    for channels, blocks in ((64, 1), (128, 2), (256, 8), (512, 8), (1024, 4)):
        half = channels if channels == 64 else channels // 2
        sections += [mish(channels, 3, 2), mish(half, 1), route(-2), mish(half, 1)]
        for _ in range(blocks):
            sections += [mish(channels // 2, 1), mish(half), shortcut(-3)]
        sections += [mish(half, 1), route(-1, -3 * blocks - 4), mish(channels, 1)]
        ends.append(len(sections) - 2)
    sections += [*leaky((512, 1), (1024, 3), (512, 1)), *_pyramid(), *leaky((512, 1), (1024, 3), (512, 1))]
    for channels, end in ((256, ends[3]), (128, ends[2])):
        sections += [*leaky((channels, 1)), upsample(), route(end), *leaky((channels, 1)), route(-1, -3)]
        sections += five(channels)
    sections += [*leaky((256, 3)), *head((0, 1, 2), classes, scale_x_y=1.2)]
    for channels, back, mask, scale in ((256, -16, (3, 4, 5), 1.1), (512, -37, (6, 7, 8), 1.05)):
        sections += [route(-4), conv(channels // divide, 3, 2), route(-1, back), *five(channels)]
        sections += [*leaky((2 * channels, 3)), *head(mask, classes, scale_x_y=scale)]
    return sections
