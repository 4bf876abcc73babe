"""RESULTS.html in a real browser: headless Chromium, spoken to over a pipe."""
