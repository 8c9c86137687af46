# A guest that fits into a boot sector and works like a small database: for each count it writes a data sector, and then
# the header that says so. The count goes on where the header of an earlier boot left it. On the first serial port:
# "U" when it is up, "." every 16 counts, "E" for each error of the disk.
.code16
.globl _start
_start:
	cli
	xor %ax, %ax
	mov %ax, %ds
	mov %ax, %es
	mov %ax, %ss
	mov $0x7c00, %sp
	sti
	cld
	mov %dl, drive
	movl $1, lba
	mov $0x42, %ah
	call disk
	mov 0x8000, %eax
	mov %eax, count
	mov $'U', %al
	call put
next:
	incl count
	mov $0x8000, %di
	mov count, %eax
	mov $128, %cx
	rep stosl
	mov count, %eax
	and $0xff, %eax
	add $2048, %eax
	mov %eax, lba
	mov $0x43, %ah
	call disk
	movl $1, lba
	mov $0x43, %ah
	call disk
	# 1 ms, in which the processor is not busy.
	xor %cx, %cx
	mov $1000, %dx
	mov $0x86, %ah
	int $0x15
	testb $0xf, count
	jnz next
	mov $'.', %al
	call put
	jmp next

# AH: 0x42 reads, 0x43 writes the sector at lba from or to 0x8000.
disk:
	mov $packet, %si
	mov drive, %dl
	xor %al, %al
	int $0x13
	jnc 1f
	mov $'E', %al
	call put
1:	ret

put:
	push %dx
	push %ax
	mov $0x3fd, %dx
1:	in %dx, %al
	test $0x20, %al
	jz 1b
	pop %ax
	mov $0x3f8, %dx
	out %al, %dx
	pop %dx
	ret

packet:	.byte 16, 0
	.word 1, 0x8000, 0
lba:	.long 0, 0
drive:	.byte 0
count:	.long 0
	.org 510
	.word 0xaa55
