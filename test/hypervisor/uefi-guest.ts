/** What a UEFI guest does with its firmware and its TPM, as commands of its shell. */
import { closeSync, openSync, readSync } from "node:fs";

const GLOBAL = "8be4df61-93ca-11d2-aa0d-00e098032b8c";
const VARIABLES = "/sys/firmware/efi/efivars";
/** non-volatile, seen by boot services and at runtime */
const ATTRIBUTES = [7, 0, 0, 0];

/** Prints a variable's bytes in hex, without its attributes. */
export const readVariable = (name: string): string =>
	`tail -c +5 ${VARIABLES}/${name}-${GLOBAL} | hexdump -v -e '1/1 "%02x"'`;

export const writeVariable = (name: string, value: Buffer): string =>
	`${print(Buffer.from([...ATTRIBUTES, ...value]))} >${VARIABLES}/${name}-${GLOBAL}`;

/** EFI_LOAD_OPTION for a file on the first partition of a GPT disk (UEFI specification, sections 3.1.3 and 10.3.5). */
export function loadOption(image: string, path: string): Buffer {
	const entry = Buffer.alloc(128);
	const fd = openSync(image, "r");
	readSync(fd, entry, 0, 128, 1024);
	closeSync(fd);
	const first = entry.readBigUInt64LE(32);
	const partition = Buffer.alloc(42);
	partition.set([4, 1, 42, 0]);
	partition.writeUInt32LE(1, 4);
	partition.writeBigUInt64LE(first, 8);
	partition.writeBigUInt64LE(entry.readBigUInt64LE(40) - first + 1n, 16);
	entry.copy(partition, 24, 16, 32);
	partition.set([2, 2], 40);
	const name = Buffer.from(`${path}\0`, "utf16le");
	const file = Buffer.from([4, 4, name.length + 4, 0, ...name]);
	const devices = Buffer.concat([partition, file, Buffer.from([0x7f, 0xff, 4, 0])]);
	const head = Buffer.alloc(6);
	head.writeUInt32LE(1);
	head.writeUInt16LE(devices.length, 4);
	return Buffer.concat([head, Buffer.from("springback\0", "utf16le"), devices]);
}

const OWNER = "40000001";
const INDEX = "01800001";
/** empty password */
const SESSION = "00000009400000090000000000";
const be16 = (value: number): string => value.toString(16).padStart(4, "0");

/** Commands of TPM 2.0, part 3: an index that owner and holder of its empty password may read and write, and its content. */
export const tpmWrite = (content: Buffer): string[] => [
	tpm("0000012a", `${OWNER}${SESSION}0000000e${INDEX}000b020600060000${be16(content.length)}`),
	tpm("00000137", `${OWNER}${INDEX}${SESSION}${be16(content.length)}${content.toString("hex")}0000`),
];

export const tpmRead = (length: number): string => tpm("0000014e", `${OWNER}${INDEX}${SESSION}${be16(length)}0000`);

/** Prints the answer in hex. */
const tpm = (code: string, parameters: string): string => {
	const body = Buffer.from(`${code}${parameters}`, "hex");
	const head = Buffer.from("800200000000", "hex");
	head.writeUInt32BE(head.length + body.length, 2);
	const command = print(Buffer.concat([head, body]));
	return `exec 4<>/dev/tpm0; ${command} >&4; dd bs=4096 count=1 <&4 2>/dev/null | hexdump -v -e '1/1 "%02x"'`;
};

/** Octal, which every shell's printf knows. */
const print = (bytes: Buffer): string =>
	`printf '${[...bytes].map((byte) => `\\${byte.toString(8).padStart(3, "0")}`).join("")}'`;
