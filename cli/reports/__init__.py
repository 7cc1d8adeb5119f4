"""Reports as people see them: one page of facts and tables for each, and the formats that it can be written in.

A report's dataclass becomes JSON as it is (`document`), or a `Page`, from which every other format is made. So a number
that two formats show is the same one. Only `html` imports the template engine.
"""
