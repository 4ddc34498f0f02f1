#!/bin/sh -eu
# Run by mmdebstrap with the root of the guest that measures: compiles SystemTap's script for
# its kernel, and leaves out what is big and no tracer there needs.
cd "$1"
release=$(ls usr/lib/modules)
headers=$(echo usr/src/linux-headers-*-common)

# Debian's SystemTap 4.8 does not know that this function has another name by now.
if grep -q task_work_cancel_func "$headers/include/linux/task_work.h"; then
    sed -i 's/\btask_work_cancel\b/task_work_cancel_func/g' usr/share/systemtap/runtime/stp_task_work.c
fi
# Without the module its row fails, and no other.
chroot . env HOME=/root stap -p4 -r "$release" -m tcp_connections \
    /usr/share/systemtap/examples/network/tcp_connections.stp || true
rm -rf root/.systemtap usr/lib/debug usr/share/systemtap

rm -rf usr/lib/gcc/*/*/cc1* usr/lib/gcc/*/*/lto1 usr/bin/*-lto-dump-* usr/lib/udev usr/share/ieee-data \
    usr/lib/x86_64-linux-gnu/perl usr/lib/x86_64-linux-gnu/gconv usr/include/c++
find "$headers/arch" -mindepth 1 -maxdepth 1 ! -name x86 ! -name Kconfig -exec rm -rf {} +
