"""How the longer answers of commands are drawn as text."""
