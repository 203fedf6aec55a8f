"""Chat: the syntax of the commands, and lines that are nearly one."""
