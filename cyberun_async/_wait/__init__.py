"""Follow one task, or many at once, to their results: events, polling, deduplication, deadlines."""
