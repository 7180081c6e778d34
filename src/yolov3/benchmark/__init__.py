"""How fast a model runs on this machine: every engine, and other software beside it, each in a process of its own.

`plan` checks, `running` asks, `worker` answers from the other process with one of `contenders`, `report` shows.
"""

from .plan import Job
from .report import Entry, Report
from .running import run_benchmark

__all__ = ["Entry", "Job", "Report", "run_benchmark"]
