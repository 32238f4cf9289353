"""qsup top: pages and tables (pure), one frame as text, the feed from the daemon, and the full screen."""
