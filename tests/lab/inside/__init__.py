"""What runs inside the lab, copied into its image as it is: standard library only, no import from outside this folder."""
