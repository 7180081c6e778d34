"""Training with PyTorch: network, targets, losses, the loop. Needs `yolov3[train]`."""
