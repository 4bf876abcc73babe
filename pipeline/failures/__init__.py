"""Why attempts end without a result, and what is done about it."""
