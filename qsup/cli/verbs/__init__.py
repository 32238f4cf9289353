"""One small file for each verb: `configure` adds its words to a parser, `run` does it and returns an exit code."""
