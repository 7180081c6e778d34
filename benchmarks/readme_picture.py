"""Makes docs/images/detect.jpg: the sample photos as `yolov3 detect` annotates them, side by side."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

import yolov3
from yolov3.zoo import sample_photos

HEIGHT = 320


def main() -> None:
    detector = yolov3.Detector("yolov3-tiny")
    cells = []
    for path in sample_photos():
        picture = detector(path).annotate(yolov3.read_image(path))
        width = round(picture.shape[1] * HEIGHT / picture.shape[0])
        cells += [
            cv2.resize(picture, (width, HEIGHT), interpolation=cv2.INTER_AREA),
            np.full((HEIGHT, 6, 3), 255, np.uint8),
        ]
    sheet = np.hstack(cells[:-1])
    target = Path(__file__).parent.parent / "docs/images/detect.jpg"
    cv2.imwrite(str(target), sheet[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, 88])
    print(target)


if __name__ == "__main__":
    main()
