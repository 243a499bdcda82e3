"""Installing: schema migrations, triggers and cursors, brought to what the code declares; and the rights they need."""
