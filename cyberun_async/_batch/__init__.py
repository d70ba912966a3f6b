"""Many items through one workflow, each submitted once: decisions, runner, journal."""
