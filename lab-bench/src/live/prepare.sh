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
# Without the modules their rows fail, and no other. What the script writes as it is, the runtime
# loses (see docs/performance.md); with lines that are one byte longer, next to nothing.
script=usr/share/systemtap/examples/network/tcp_connections.stp
sed 's/%16s\\n"/%17s\\n"/' "$script" > tmp/wide.stp
chroot . env HOME=/root stap -p4 -r "$release" -m tcp_connections "/$script" || true
chroot . env HOME=/root stap -p4 -r "$release" -m tcp_connections_wide /tmp/wide.stp || true
rm -rf tmp/wide.stp root/.systemtap usr/lib/debug usr/share/systemtap

rm -rf usr/lib/gcc/*/*/cc1* usr/lib/gcc/*/*/lto1 usr/bin/*-lto-dump-* usr/lib/udev usr/share/ieee-data \
    usr/lib/x86_64-linux-gnu/perl usr/lib/x86_64-linux-gnu/gconv usr/include/c++
find "$headers/arch" -mindepth 1 -maxdepth 1 ! -name x86 ! -name Kconfig -exec rm -rf {} +
