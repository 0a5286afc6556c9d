"""Damaged files of every kind that is read: a sentence each time, in bounded time and memory."""
