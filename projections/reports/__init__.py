"""Reports: what happened and how things are, for people who read it once. Each is built once, by one module here.

A report is a frozen dataclass of plain numbers; every format is made from it and asks nothing more of the ledger.
Nothing here imports eventsourcing, tuf, cryptography or a template engine.
"""
