"""Families of flows side by side: what each is, what it costs, and what it reached here."""
