"""From annotations of every kind to `AttentionTarget`s."""
