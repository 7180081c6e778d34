"""Scoring detections: truth and predictions as flat arrays, matching, COCO's metrics, curves, intervals, the card.

`yolov3.evaluate` is the way in.
"""
