"""Tasks, a package each: schema, form of answer, head, loss, metrics and controls."""
