// SPDX-License-Identifier: Apache-2.0
//
// The guest as firmware of a PC, for QEMU: 64 KiB that end at 4 GiB and are also seen at 0xf0000. Copies the program to
// where the other hypervisors load it and enters it as they do. Needs guest.bin in the folder the assembler runs in.

.set LOADED_AT, 0x1000

.code16
.text
.globl start
guest:
    .incbin "guest.bin"
.set GUEST_SIZE, . - guest

.org 0xff00
copy:
    cli
    cld
    mov     %cs, %ax
    mov     %ax, %ds
    xor     %ax, %ax
    mov     %ax, %es
    xor     %si, %si
    mov     $LOADED_AT, %di
    mov     $GUEST_SIZE, %cx
    rep movsb
    ljmp    $0, $LOADED_AT

.org 0xfff0                     // where a CPU starts
start:
    ljmp    $0xf000, $copy
.org 0x10000
