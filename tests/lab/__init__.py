"""The lab: a whole Debian host in a box, booted by QEMU under TCG, on which qsup's promises are shown.

Enters: the release and the shape of the host wanted (nodes, cores, threads), a wheel of qsup.
Leaves: a `Lab`: a running host of a test's own, in about a second, that runs commands and gives files back.
May touch: the cache folder ($QSUP_LAB_CACHE), its own folders under the temporary directory, the QEMU processes it
    started, Debian's mirror and PyPI through mmdebstrap and pip.
Must not: install anything on the machine, need its /dev/kvm, change a template once it is saved, outlive the process
    that started it, import qsup (the lab is told what to install; it knows nothing of it).
Start reading in `lab.py` (what a test sees), then `template.py` (how a clone comes up in a second), then `image.py`
(how the disk is made). What runs inside the lab lies in `inside/`. docs/lab.md says what it promises.
"""
