"""Structured reports for people: one telling, the HTML page, and what is made of it."""
