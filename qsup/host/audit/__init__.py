"""audit: reads what the rules of `truth/audit` look at. Nothing here raises; what cannot be read is told as such.

Start reading at `gather.py`. Each file reads one topic; all take a `root`, so that a recorded machine can stand in.
"""
