"""Command line: parser, plan, run; the only place that exits."""
