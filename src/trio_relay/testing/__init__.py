"""A relay in the process of a test."""
