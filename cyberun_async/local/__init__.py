"""A local Cyberun Cloud to develop and test against (extra ``local``)."""

from . import scripts
from ._clock import Clock
from ._operations import Exchange
from ._server import LocalCyberun
from ._workflows import Job, Output, Parameter, Workflow

__all__ = ["Clock", "Exchange", "Job", "LocalCyberun", "Output", "Parameter", "Workflow", "scripts"]
