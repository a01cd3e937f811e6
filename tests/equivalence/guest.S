// SPDX-License-Identifier: Apache-2.0
//
// Plays access streams (packages/core/src/backend/stream.ts) on a real CPU: the same accesses that the simulated
// hypervisors make, one list for each vCPU, read from memory. It is loaded at 0x1000 and entered there in 16-bit real
// mode; the first CPU starts the others by INIT and SIPI, each finds its list by its APIC id, and the first ends the
// machine when all are done.
//
// Assembled by examples/launcher/guest/build.mjs; the result is guest.bin, kept for machines without an assembler.

.set CODE_SELECTOR, 0x08
.set DATA_SELECTOR, 0x10

// What guest.ts writes before the start.
.set CPUS,          0x3000      // how many
.set LISTS,         0x3010      // for each vCPU: address of its list, its length, accesses to make, 0

.set FLAG_WRITE,    1           // STREAM_FLAG, STREAM_WORD
.set FLAG_MMIO,     2
.set FLAG_LAST,     4
.set ENTRY_BYTES,   24

.set APIC,          0xfee00000
.set APIC_ID,       APIC + 0x20
.set APIC_ICR,      APIC + 0x300
.set ICR_INIT,      0x000c4500  // all but self, assert
.set ICR_STARTUP,   0x000c4601  // at page 1: this program

.set EXIT_PORT,     0xf4

.code16
.text
.globl start
start:                          // 0:1000 for the first CPU, 0100:0 for the others
    cli
    cld
    xor     %ax, %ax
    mov     %ax, %ds
    lgdtl   gdt_pointer
    mov     %cr0, %eax
    or      $1, %al             // CR0.PE
    mov     %eax, %cr0
    ljmpl   $CODE_SELECTOR, $protected

.code32
protected:
    mov     $DATA_SELECTOR, %ax
    mov     %ax, %ds
    mov     %ax, %es
    mov     %ax, %ss
    mov     APIC_ID, %ebp
    shr     $24, %ebp           // which vCPU this is
    jnz     play
    cmpl    $1, CPUS
    je      play
    movl    $ICR_INIT, APIC_ICR
    mov     $1000, %ecx         // the others take their time to become ready
1:  pause
    loop    1b
    movl    $ICR_STARTUP, APIC_ICR

// ebp vCPU, esi entry, ecx entries left in the list, edi accesses left, ebx what was read last
play:
    mov     %ebp, %eax
    shl     $4, %eax
    mov     LISTS + 8(%eax), %edi
    xor     %ebx, %ebx
    xor     %ecx, %ecx
next:
    test    %edi, %edi
    jz      done
    dec     %edi
    test    %ecx, %ecx
    jnz     1f
    mov     %ebp, %eax          // from the start of the list
    shl     $4, %eax
    mov     LISTS(%eax), %esi
    mov     LISTS + 4(%eax), %ecx
1:  dec     %ecx
    mov     8(%esi), %edx       // address
    mov     16(%esi), %eax      // value
    testl   $FLAG_LAST, (%esi)
    jz      1f
    mov     %ebx, %eax
1:  testl   $FLAG_WRITE, (%esi)
    jnz     write
    xor     %eax, %eax
    testl   $FLAG_MMIO, (%esi)
    jnz     read_memory
    cmpl    $2, 4(%esi)
    je      2f
    ja      4f
    in      %dx, %al
    jmp     was_read
2:  in      %dx, %ax
    jmp     was_read
4:  in      %dx, %eax
    jmp     was_read
read_memory:
    cmpl    $2, 4(%esi)
    je      2f
    ja      4f
    mov     (%edx), %al
    jmp     was_read
2:  mov     (%edx), %ax
    jmp     was_read
4:  mov     (%edx), %eax
was_read:
    mov     %eax, %ebx
    add     $ENTRY_BYTES, %esi
    jmp     next
write:
    testl   $FLAG_MMIO, (%esi)
    jnz     write_memory
    cmpl    $2, 4(%esi)
    je      2f
    ja      4f
    out     %al, %dx
    jmp     written
2:  out     %ax, %dx
    jmp     written
4:  out     %eax, %dx
    jmp     written
write_memory:
    cmpl    $2, 4(%esi)
    je      2f
    ja      4f
    mov     %al, (%edx)
    jmp     written
2:  mov     %ax, (%edx)
    jmp     written
4:  mov     %eax, (%edx)
written:
    add     $ENTRY_BYTES, %esi
    jmp     next

done:
    lock incl finished
    test    %ebp, %ebp
    jnz     2f
1:  pause
    mov     finished, %eax
    cmp     CPUS, %eax
    jne     1b
    mov     $EXIT_PORT, %dx
    xor     %eax, %eax
    out     %al, %dx
2:  cli
    hlt
    jmp     2b

.balign 8
gdt:
    .quad   0
    .quad   0x00cf9a000000ffff  // code: flat 4 GiB, 32-bit, execute and read
    .quad   0x00cf92000000ffff  // data: flat 4 GiB, read and write
gdt_pointer:
    .word   gdt_pointer - gdt - 1
    .long   gdt
.balign 4
finished:   .long 0
