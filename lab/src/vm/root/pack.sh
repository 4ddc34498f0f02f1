#!/bin/sh -eu
# Run by mmdebstrap with the guest's root: leaves out what the guest would only have to
# carry in its memory, and packs the rest.
cd "$1"
rm -rf boot/initrd* usr/share/doc usr/share/man usr/share/locale usr/share/perl usr/share/zoneinfo \
    usr/lib/modules/*/kernel/fs usr/lib/modules/*/kernel/drivers/gpu \
    var/lib/apt/lists var/cache/apt etc/hostname
ls usr/lib/modules > "$PACK_TO/release"
cp -L boot/vmlinuz-* "$PACK_TO/vmlinuz"
find . -xdev -mindepth 1 ! -path './proc/*' ! -path './sys/*' |
    cpio --quiet -o -H newc > "$PACK_TO/root.cpio"
