"""What Cyberun says on the wire. Nothing here waits, and nothing here moves bytes."""
