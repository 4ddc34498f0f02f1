#!/bin/sh -eu
# Run by mmdebstrap with the root of the guest that records: leaves out what is big and no program there needs.
cd "$1"
rm -rf usr/lib/gcc/*/*/cc1* usr/lib/gcc/*/*/lto1 usr/bin/*-lto-dump-* usr/share/ieee-data \
    usr/lib/x86_64-linux-gnu/perl usr/lib/x86_64-linux-gnu/gconv usr/include/c++
headers=$(echo usr/src/linux-headers-*-common)
find "$headers/arch" -mindepth 1 -maxdepth 1 ! -name x86 ! -name Kconfig -exec rm -rf {} +
