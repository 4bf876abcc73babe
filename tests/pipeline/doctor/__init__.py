"""Tests of `pipeline doctor`."""
