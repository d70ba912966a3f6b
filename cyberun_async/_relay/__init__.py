"""Pass the events of tasks on to any number of readers."""
