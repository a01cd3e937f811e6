// SPDX-License-Identifier: Apache-2.0
//
// The benchmarks' guest: a program for the bare machine that times its own accesses to devices, each by itself, with
// the CPU's time-stamp counter, and prints what it found. It is loaded at 0x1000 and entered there in 16-bit real
// mode. The same bytes run under the bare KVM loop, under Trapline and, out of rom.S, under QEMU.
//
// Two registers are timed, each of them a cell that reads as it was written, so that nobody has work to do for it:
// the scratch register of a 16550 at port 0x3f8, and the main counter of an HPET that is not running. Prints one line
// for each through port 0xe9, hexadecimal numbers between spaces:
//     NAME count wrong min p10 p50 p90 p99 max
// where `wrong` is how many of all reads, warm-up included, did not give what was written, and the others are ticks.
// Then it leaves through the debug-exit port.
//
// Build with -DWARM=n -DCOUNT=n: accesses before, and while, time is taken; see build.ts.

.set CODE_SELECTOR, 0x08
.set DATA_SELECTOR, 0x10
.set STACK_TOP,     0x8000
.set TABLE,         0x100000    // COUNT times in ticks, 32 bits each

.set SCRATCH,       0x3ff       // 16550 at 0x3f8
.set PATTERN_8,     0x5a
.set HPET_CONFIG,   0xfed00010  // bit 0: the counter runs
.set HPET_COUNTER,  0xfed000f0
.set PATTERN_32,    0x1badcafe

.set PRINT_PORT,    0xe9
.set EXIT_PORT,     0xf4

.code16
.text
.globl start
start:
    cli
    cld
    xor     %ax, %ax
    mov     %ax, %ds
    lgdtl   gdt_pointer
    mov     %cr0, %eax
    or      $1, %al             // CR0.PE
    mov     %eax, %cr0
    ljmpl   $CODE_SELECTOR, $protected

// --- what is timed ---------------------------------------------------------------------------------------------

.macro READ_PIO                 // into ebx
    in      %dx, %al
    movzbl  %al, %ebx
.endm

.macro READ_MMIO
    mov     HPET_COUNTER, %ebx
.endm

// Reads with the macro `read`, whose values shall be `expected`, into the table. Keeps edx over the warm-up for `in`.
.macro MEASURE read, expected
    movl    $0, wrong
    mov     $WARM, %ecx
1:  \read
    cmp     $\expected, %ebx
    je      2f
    incl    wrong
2:  dec     %ecx
    jnz     1b

    mov     %edx, %ebp
    mov     $TABLE, %edi
    mov     $COUNT, %ecx
3:  lfence                      // nothing from before is timed with it
    rdtsc
    mov     %eax, %esi
    mov     %ebp, %edx
    \read
    lfence
    rdtsc
    sub     %esi, %eax          // 32 bits: a second and more, on any CPU
    stosl
    cmp     $\expected, %ebx
    je      4f
    incl    wrong
4:  dec     %ecx
    jnz     3b
.endm

.code32
protected:
    mov     $DATA_SELECTOR, %ax
    mov     %ax, %ds
    mov     %ax, %es
    mov     %ax, %ss
    mov     $STACK_TOP, %esp

    mov     $SCRATCH, %edx
    mov     $PATTERN_8, %al
    out     %al, %dx
    MEASURE READ_PIO, PATTERN_8
    mov     $pio, %esi
    call    report

    movl    $0, HPET_CONFIG
    movl    $PATTERN_32, HPET_COUNTER
    MEASURE READ_MMIO, PATTERN_32
    mov     $mmio, %esi
    call    report

    xor     %al, %al
    out     %al, $EXIT_PORT
1:  hlt                         // where there is no such device
    jmp     1b

// --- what is printed -------------------------------------------------------------------------------------------

report:                         // under the name at esi
    push    %esi
    call    sort
    pop     %esi
1:  lodsb
    test    %al, %al
    jz      2f
    out     %al, $PRINT_PORT
    jmp     1b
2:  mov     $COUNT, %eax
    call    print_number
    mov     wrong, %eax
    call    print_number
    mov     $ranks, %esi
3:  lodsl
    mov     TABLE(, %eax, 4), %eax
    call    print_number
    cmp     $ranks_end, %esi
    jb      3b
    mov     $'\n', %al
    out     %al, $PRINT_PORT
    ret

print_number:                   // a space, then eax in 8 digits
    mov     %eax, %edx
    mov     $' ', %al
    out     %al, $PRINT_PORT
    mov     $8, %ecx
1:  rol     $4, %edx
    mov     %edx, %eax
    and     $15, %eax
    mov     digits(%eax), %al
    out     %al, $PRINT_PORT
    dec     %ecx
    jnz     1b
    ret

sort:                           // the table, by Shell's method: ebx is the gap, ecx the element in its turn
    mov     $COUNT, %ebx
1:  shr     $1, %ebx
    jz      5f
    mov     %ebx, %ecx
2:  cmp     $COUNT, %ecx
    jae     1b
    mov     TABLE(, %ecx, 4), %eax
    mov     %ecx, %edx
3:  mov     %edx, %esi
    sub     %ebx, %esi
    jb      4f
    mov     TABLE(, %esi, 4), %edi
    cmp     %eax, %edi
    jbe     4f
    mov     %edi, TABLE(, %edx, 4)
    mov     %esi, %edx
    jmp     3b
4:  mov     %eax, TABLE(, %edx, 4)
    inc     %ecx
    jmp     2b
5:  ret

// --- data ------------------------------------------------------------------------------------------------------

pio:    .asciz  "pio"
mmio:   .asciz  "mmio"
digits: .ascii  "0123456789abcdef"

.balign 8
gdt:
    .quad   0
    .quad   0x00cf9a000000ffff  // flat code
    .quad   0x00cf92000000ffff  // flat data
gdt_pointer:
    .word   gdt_pointer - gdt - 1
    .long   gdt

.balign 4
ranks:                          // in the sorted table
    .long   0
    .long   COUNT * 10 / 100
    .long   COUNT * 50 / 100
    .long   COUNT * 90 / 100
    .long   COUNT * 99 / 100
    .long   COUNT - 1
ranks_end:
wrong:
    .long   0
