"""`python -m yolov3`."""

from .cli import main

main()
