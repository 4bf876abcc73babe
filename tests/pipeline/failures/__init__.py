"""Tests of how failures are understood, and what is done about them."""
