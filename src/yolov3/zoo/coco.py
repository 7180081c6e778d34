"""COCO's class names, and how other lists spell them."""

from __future__ import annotations

from collections.abc import Sequence

# The 80 detection classes in COCO's order (instances_val2017.json, categories).
# fmt: off
COCO_NAMES = (
    "person", "bicycle", "car", "motorcycle", "airplane", "bus", "train", "truck", "boat", "traffic light",
    "fire hydrant", "stop sign", "parking meter", "bench", "bird", "cat", "dog", "horse", "sheep", "cow",
    "elephant", "bear", "zebra", "giraffe", "backpack", "umbrella", "handbag", "tie", "suitcase", "frisbee",
    "skis", "snowboard", "sports ball", "kite", "baseball bat", "baseball glove", "skateboard", "surfboard",
    "tennis racket", "bottle", "wine glass", "cup", "fork", "knife", "spoon", "bowl", "banana", "apple",
    "sandwich", "orange", "broccoli", "carrot", "hot dog", "pizza", "donut", "cake", "chair", "couch",
    "potted plant", "bed", "dining table", "toilet", "tv", "laptop", "mouse", "remote", "keyboard", "cell phone",
    "microwave", "oven", "toaster", "sink", "refrigerator", "book", "clock", "vase", "scissors", "teddy bear",
    "hair drier", "toothbrush",
)
# fmt: on

# COCO's own category ids, 1 to 90: ten of them are not used for detection.
_UNUSED_IDS = {66, 68, 69, 71, 12, 45, 83, 26, 29, 30}
COCO_CATEGORY_IDS = tuple(number for number in range(1, 91) if number not in _UNUSED_IDS)

# Darknet's coco.names → COCO's own.
COCO_ALIASES = {
    "motorbike": "motorcycle",
    "aeroplane": "airplane",
    "sofa": "couch",
    "pottedplant": "potted plant",
    "diningtable": "dining table",
    "tvmonitor": "tv",
}


def category_ids(names: Sequence[str]) -> tuple[int, ...]:
    """What COCO results call each class: COCO's own ids (1 to 90) for its 80 classes, else the class's index."""
    own = tuple(COCO_ALIASES.get(name, name) for name in names) == COCO_NAMES
    return COCO_CATEGORY_IDS if own else tuple(range(len(names)))
