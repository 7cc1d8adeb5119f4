"""Checking the whole ledger: each module one kind of check, each check a generator of findings."""
