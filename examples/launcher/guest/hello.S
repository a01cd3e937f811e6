// SPDX-License-Identifier: Apache-2.0
//
// The launcher's guest: a program for the bare machine, without an operating system. It is loaded at 0x1000 and
// entered there in 16-bit real mode, goes to 32-bit protected mode, greets on the serial port, tries the device of
// examples/hello-device, echoes what is typed, and leaves through the debug-exit port with the number of checks
// that failed.
//
// Assembled by build.mjs; the result is hello.bin, kept beside this file for machines without an assembler.

// --- where things are ------------------------------------------------------------------------------------------

.set CODE_SELECTOR, 0x08
.set DATA_SELECTOR, 0x10
.set IDT,           0x6000      // 48 gates of 8 bytes
.set RING,          0x6800      // 256 bytes typed and not yet echoed
.set STACK_TOP,     0x8000

.set UART,          0x3f8       // 16550A: data
.set UART_IER,      UART + 1    //   interrupt enable
.set UART_FCR,      UART + 2    //   FIFO control
.set UART_LCR,      UART + 3    //   line control
.set UART_MCR,      UART + 4    //   modem control
.set UART_LSR,      UART + 5    //   line status
.set LSR_DATA_READY, 0x01
.set LSR_THR_EMPTY,  0x20
.set LSR_ALL_SENT,   0x40

.set PIC1,          0x20        // 8259A: master, slave; command, then data
.set PIC2,          0xa0
.set PIC_EOI,       0x20
.set VECTOR_BASE,   0x20        // IRQ n arrives as vector 0x20 + n
.set UART_IRQ,      4

.set HELLO_ID,      0x2a0       // hello-device, ports
.set HELLO_TEXT,    0x2a1
.set HELLO_SCRATCH, 0x2a2
.set HELLO_MAGIC,   0xd0000000  // hello-device, memory-mapped registers
.set HELLO_ADD,     0xd0000004
.set HELLO_TOTAL,   0xd0000008
.set HELLO_STATUS,  0xd000000c
.set MAGIC,         0x6f6c6c48  // "Hllo"
.set MAGIC_LOW_16,  0x6c48
.set MAGIC_LOW_8,   0x48
.set STATUS_OVERFLOW, 1
.set LONGEST_TEXT,  200         // a device without an end must not keep us

.set EXIT_PORT,     0xf4        // debug exit: the byte written ends the machine
.set VERDICT_FAULT, 0xff

.set EOT,           0x04        // Ctrl-D
.set BACKSPACE,     0x08
.set DELETE,        0x7f

// --- macros ----------------------------------------------------------------------------------------------------

.macro OUTB port, value         // a byte to any port
    mov     $\port, %dx
    mov     $\value, %al
    out     %al, %dx
.endm

.macro INB port                 // a byte from any port, in al
    mov     $\port, %dx
    in      %dx, %al
.endm

.macro CHECK condition, what    // counts and names a check whose condition does not hold
    j\condition .Lholds\@
    mov     $\what, %esi
    call    failed
.Lholds\@:
.endm

// --- real mode -------------------------------------------------------------------------------------------------

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

// --- protected mode --------------------------------------------------------------------------------------------

.code32
protected:
    mov     $DATA_SELECTOR, %ax
    mov     %ax, %ds
    mov     %ax, %es
    mov     %ax, %ss
    mov     $STACK_TOP, %esp
    movl    $0, failures
    movl    $0, ring_in
    movl    $0, ring_out

    call    set_up_interrupts
    call    set_up_uart
    mov     $banner, %esi
    call    print
    call    try_ports
    call    try_registers
    call    echo
    mov     $goodbye, %esi
    call    print
1:  INB     UART_LSR            // the last byte shall be out before the machine ends
    test    $LSR_ALL_SENT, %al
    jz      1b
    mov     failures, %al
leave_machine:                  // with the verdict in al
    mov     $EXIT_PORT, %dx
    out     %al, %dx
    cli
1:  hlt                         // where there is no such device
    jmp     1b

// --- interrupts ------------------------------------------------------------------------------------------------

set_up_interrupts:
    // Vectors 0..31 are the CPU's own exceptions: none is expected. 32..47 are the PICs': all but one are masked,
    // and what comes nevertheless is spurious.
    mov     $IDT, %edi
    mov     $fault, %eax
    mov     $VECTOR_BASE, %ecx
    call    fill_gates
    mov     $ignored, %eax
    mov     $16, %ecx
    call    fill_gates
    mov     $IDT + 8 * (VECTOR_BASE + UART_IRQ), %edi
    mov     $uart_interrupt, %eax
    mov     $1, %ecx
    call    fill_gates
    lidt    idt_pointer

    OUTB    PIC1, 0x11          // ICW1: edge-triggered, cascaded, ICW4 follows
    OUTB    PIC2, 0x11
    OUTB    PIC1 + 1, VECTOR_BASE
    OUTB    PIC2 + 1, VECTOR_BASE + 8
    OUTB    PIC1 + 1, 0x04      // ICW3: the slave is on input 2
    OUTB    PIC2 + 1, 0x02
    OUTB    PIC1 + 1, 0x01      // ICW4: 8086 mode
    OUTB    PIC2 + 1, 0x01
    OUTB    PIC1 + 1, ~(1 << UART_IRQ) & 0xff
    OUTB    PIC2 + 1, 0xff
    ret

fill_gates:                     // ecx gates from edi on, all to eax
    movw    %ax, (%edi)
    movw    $CODE_SELECTOR, 2(%edi)
    movw    $0x8e00, 4(%edi)    // present, 32-bit interrupt gate: enters with interrupts off
    movw    $0, 6(%edi)         // all our code is below 64 KiB
    add     $8, %edi
    loop    fill_gates
    ret

fault:
    mov     $VERDICT_FAULT, %al
    jmp     leave_machine

// Interrupts are enabled at one place only, asleep in `get`, and what follows there needs no flags: so a handler
// returns with interrupts still off, over the CS and EFLAGS that were pushed. IRET would do, but a hypervisor that
// emulates the guest's instructions (KVM does where it has no hardware for it) may not know its protected-mode form.
.macro RETURN_FROM_INTERRUPT
    ret     $8
.endm

ignored:
    RETURN_FROM_INTERRUPT

// Moves what has arrived into the ring. What does not fit stays in the UART, whose line then stays high; the PIC sees
// edges only, so `get` looks at the UART before it sleeps.
uart_interrupt:
    push    %eax
    push    %edx
    push    %edi
1:  mov     ring_in, %edi
    lea     1(%edi), %eax
    and     $0xff, %eax
    cmp     ring_out, %eax      // full
    je      2f
    INB     UART_LSR
    test    $LSR_DATA_READY, %al
    jz      2f
    INB     UART
    mov     %al, RING(%edi)
    inc     %edi
    and     $0xff, %edi
    mov     %edi, ring_in
    jmp     1b
2:  OUTB    PIC1, PIC_EOI
    pop     %edi
    pop     %edx
    pop     %eax
    RETURN_FROM_INTERRUPT

// --- the serial port -------------------------------------------------------------------------------------------

set_up_uart:
    OUTB    UART_LCR, 0x80      // DLAB: the divisor
    OUTB    UART, 1             // 115200 baud
    OUTB    UART_IER, 0
    OUTB    UART_LCR, 0x03      // 8 bits, no parity, 1 stop bit
    OUTB    UART_FCR, 0x07      // FIFOs on and empty, interrupt from the first byte on
    OUTB    UART_MCR, 0x0b      // DTR, RTS, and OUT2, which gates the interrupt on a PC
    OUTB    UART_IER, 0x01      // received data
    ret

put:                            // al to the serial port
    push    %edx
    push    %eax
1:  INB     UART_LSR
    test    $LSR_THR_EMPTY, %al
    jz      1b
    pop     %eax
    mov     $UART, %dx
    out     %al, %dx
    pop     %edx
    ret

print:                          // the string at esi, up to its zero
    lodsb
    test    %al, %al
    jz      1f
    call    put
    jmp     print
1:  ret

print_number:                   // eax, unsigned, in decimal
    mov     $10, %ebx
    xor     %ecx, %ecx
1:  xor     %edx, %edx
    div     %ebx
    push    %edx
    inc     %ecx
    test    %eax, %eax
    jnz     1b
2:  pop     %eax
    add     $'0', %al
    call    put
    loop    2b
    ret

failed:                         // a check; its name is at esi
    incl    failures
    push    %esi
    mov     $check_failed, %esi
    call    print
    pop     %esi
    call    print
    mov     $'\n', %al
    jmp     put

// --- hello-device ----------------------------------------------------------------------------------------------

try_ports:
    INB     HELLO_ID
    cmp     $'H', %al
    CHECK   e, what_id

    OUTB    HELLO_SCRATCH, 0xa5
    INB     HELLO_SCRATCH
    mov     %al, %ah
    OUTB    HELLO_SCRATCH, 0x5a
    INB     HELLO_SCRATCH
    cmp     $0xa55a, %ax
    CHECK   e, what_scratch

    mov     $device_says, %esi
    call    print
    mov     $LONGEST_TEXT, %ecx
1:  INB     HELLO_TEXT
    test    %al, %al
    jz      2f
    call    put
    loop    1b
2:  mov     $'\n', %al
    call    put
    test    %ecx, %ecx
    CHECK   nz, what_text
    ret

// Plain moves only: hypervisors that decode trapped instructions themselves (ACRN) know few others.
try_registers:
    mov     HELLO_MAGIC, %eax
    cmp     $MAGIC, %eax
    CHECK   e, what_magic
    movw    HELLO_MAGIC, %ax
    cmp     $MAGIC_LOW_16, %ax
    CHECK   e, what_magic_16
    movb    HELLO_MAGIC, %al
    cmp     $MAGIC_LOW_8, %al
    CHECK   e, what_magic_8

    movl    $40, HELLO_ADD
    movl    $2, HELLO_ADD
    mov     $sum, %esi
    call    print
    mov     HELLO_TOTAL, %eax
    push    %eax
    call    print_number
    mov     $'\n', %al
    call    put
    pop     %eax
    cmp     $42, %eax
    CHECK   e, what_total

    movl    $0xffffffff, HELLO_ADD
    mov     HELLO_STATUS, %eax
    test    $STATUS_OVERFLOW, %eax
    CHECK   nz, what_overflow
    movl    $STATUS_OVERFLOW, HELLO_STATUS      // write 1 to clear
    mov     HELLO_STATUS, %eax
    test    $STATUS_OVERFLOW, %eax
    CHECK   z, what_clear
    ret

// --- the echo --------------------------------------------------------------------------------------------------

// Every character as it comes, as a terminal in raw mode expects it. ebx counts the characters on the line.
echo:
    mov     $invitation, %esi
    call    print
    xor     %ebx, %ebx
    movb    $0, after_cr
next:
    call    get
    mov     after_cr, %ah
    movb    $0, after_cr
    cmp     $EOT, %al
    je      end_of_input
    cmp     $'\r', %al
    je      carriage_return
    cmp     $'\n', %al
    je      line_feed
    cmp     $BACKSPACE, %al
    je      erase
    cmp     $DELETE, %al
    je      erase
    call    put
    inc     %ebx
    jmp     next
carriage_return:
    movb    $1, after_cr
    jmp     end_of_line
line_feed:
    test    %ah, %ah            // the second half of CR LF
    jnz     next
end_of_line:
    test    %ebx, %ebx
    jz      1f
    mov     $'\n', %al
    call    put
    xor     %ebx, %ebx
    jmp     next
erase:
    test    %ebx, %ebx
    jz      next
    dec     %ebx
    mov     $rub_out, %esi
    call    print
    jmp     next
end_of_input:
    test    %ebx, %ebx
    jz      1f
    mov     $'\n', %al
    call    put
1:  ret

// The next byte typed, in al; asleep until there is one. Interrupts are off while we look, so none comes between the
// look and HLT: STI lets it in only after the following instruction, and one that is pending then ends the HLT at once.
get:
    mov     ring_out, %edi
    cmp     ring_in, %edi
    jne     1f
    INB     UART_LSR
    test    $LSR_DATA_READY, %al
    jnz     2f
    sti
    hlt
    jmp     get
1:  mov     RING(%edi), %al
    inc     %edi
    and     $0xff, %edi
    mov     %edi, ring_out
    ret
2:  INB     UART
    ret

// --- data ------------------------------------------------------------------------------------------------------

.balign 8
gdt:
    .quad   0
    .quad   0x00cf9a000000ffff  // code: flat 4 GiB, 32-bit, execute and read
    .quad   0x00cf92000000ffff  // data: flat 4 GiB, read and write
gdt_pointer:
    .word   gdt_pointer - gdt - 1
    .long   gdt
idt_pointer:
    .word   8 * 48 - 1
    .long   IDT

.balign 4
failures:   .long 0
ring_in:    .long 0             // written by the interrupt handler only
ring_out:   .long 0             // written by `get` only
after_cr:   .byte 0

banner:       .asciz "Trapline guest: hello from protected mode\n"
device_says:  .asciz "hello-device says: "
sum:          .asciz "40 + 2 = "
invitation:   .asciz "Type, and the guest echoes; an empty line or Ctrl-D ends.\n"
rub_out:      .asciz "\b \b"
goodbye:      .asciz "bye\n"
check_failed: .asciz "check failed: "

what_id:       .asciz "hello-device id"
what_scratch:  .asciz "hello-device scratch register"
what_text:     .asciz "hello-device text has an end"
what_magic:    .asciz "hello-device magic, 32 bits"
what_magic_16: .asciz "hello-device magic, 16 bits"
what_magic_8:  .asciz "hello-device magic, 8 bits"
what_total:    .asciz "hello-device total"
what_overflow: .asciz "hello-device overflow is reported"
what_clear:    .asciz "hello-device overflow is cleared by writing 1"
