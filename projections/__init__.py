"""The read side: rebuildable answers, and the TUF tree."""
