"""Capture: from a handler's declaration to the triggers that write the log, in the writer's own transaction."""
