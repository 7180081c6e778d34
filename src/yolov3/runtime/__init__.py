"""Detection without PyTorch: loading, engines, the `Detector`."""

from .detector import Detector
from .engines import DEFAULT_ENGINE, ENGINES

__all__ = ["DEFAULT_ENGINE", "ENGINES", "Detector"]
