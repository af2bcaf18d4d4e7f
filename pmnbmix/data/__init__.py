"""Counts: what the user has, validated once and collapsed to a table of unique rows."""
