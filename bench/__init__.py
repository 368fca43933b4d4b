"""The harness: methods, budgets, runs, language models."""
