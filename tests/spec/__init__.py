"""The spec room: text in, specs or problems out."""
