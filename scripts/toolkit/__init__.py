"""The nouns that the verbs in ``scripts/`` share."""
