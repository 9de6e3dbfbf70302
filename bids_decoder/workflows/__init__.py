"""Workflow builders; they only wire."""
