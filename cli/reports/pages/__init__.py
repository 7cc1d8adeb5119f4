"""One module for each report: its dataclass becomes a page."""
