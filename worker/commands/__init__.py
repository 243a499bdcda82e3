"""What every command is made of, the engine's and the systems': handlers loaded, a connection, output, exit codes."""
