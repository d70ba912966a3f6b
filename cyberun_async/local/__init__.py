"""A local test server that speaks Cyberun's API, to develop and test against (extra ``local``)."""

from cyberun_async._extras import missing_extra

try:
    from . import scripts
    from ._accounts import LocalTeam
    from ._clock import Clock
    from ._faults import Aim, Fault, Faults
    from ._operations import Exchange
    from ._server import LocalCyberun
    from ._storage import Storage
    from ._webhooks import Delivery
    from ._workflows import Job, LocalParameter, LocalWorkflow, Output
except ModuleNotFoundError as _error:
    if (_error.name or "").partition(".")[0] not in {"PIL", "starlette", "uvicorn"}:
        raise
    raise ModuleNotFoundError(missing_extra("cyberun_async.local", "local"), name=_error.name) from None

__all__ = [
    "Aim",
    "Clock",
    "Delivery",
    "Exchange",
    "Fault",
    "Faults",
    "Job",
    "LocalCyberun",
    "LocalParameter",
    "LocalTeam",
    "LocalWorkflow",
    "Output",
    "Storage",
    "scripts",
]

for _name in __all__:
    if getattr(_public := globals()[_name], "__module__", "").startswith(__name__):
        _public.__module__ = __name__
del _name, _public
