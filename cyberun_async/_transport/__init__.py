"""How bytes move: the only place that knows httpx."""
