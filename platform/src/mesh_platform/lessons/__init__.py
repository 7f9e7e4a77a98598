"""Lessons: Markdown below `lessons/` whose commands are run as they stand there, in a folder of their own."""
