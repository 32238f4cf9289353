"""The ground: cpulists, sizes, errors."""
