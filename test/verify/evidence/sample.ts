/** Reports to test with: made up, with everything that can be in one. */
import { randomBytes } from "node:crypto";
import { deflateSync } from "node:zlib";
import type { Fault, RunReport, TestReport, VmReport, VmResult } from "../../../src/verify/model.js";

export const REPOSITORY = { id: "0123456789abcdef0123456789abcdef", path: "/srv/backup" };

export const test = (name: string, more: Partial<TestReport> = {}): TestReport => ({
	kind: "tcp",
	name,
	result: "passed",
	message: "the port accepts connections",
	output: "",
	attempts: 1,
	startedMs: 15_300,
	tookMs: 420,
	value: null,
	...more,
});

export const vm = (
	name: string,
	result: VmResult = "passed",
	fault: Fault | null = null,
	more: Partial<VmReport> = {},
): VmReport => ({
	vm: name,
	group: "shop",
	role: "web",
	point: { id: "9a41c07e".repeat(4), time: "2026-11-20T22:00:00Z" },
	disks: [{ name: "disk0", size: 8 * 2 ** 30, identityBefore: "ab".repeat(32), identityAfter: "ab".repeat(32) }],
	result,
	fault,
	summary: result === "passed" ? "it booted and all tests passed" : "TCP port 80 does not accept connections",
	started: "2026-11-21T01:02:03.000Z",
	ended: "2026-11-21T01:02:43.500Z",
	timeline: [
		{ what: "publish", atMs: 0, tookMs: 180, detail: "session verify-1" },
		{ what: "power-on", atMs: 420, tookMs: null, detail: null },
		{ what: "first-read", atMs: 610, tookMs: null, detail: "disk0, sector 0" },
		{ what: "boot-sector", atMs: 615, tookMs: null, detail: null },
		{ what: "kernel", atMs: 3_900, tookMs: null, detail: "Linux version 6.1.0" },
		{ what: "address", atMs: 9_800, tookMs: null, detail: "192.168.7.20" },
		{ what: "agent", atMs: 11_100, tookMs: null, detail: null },
		{ what: "stable", atMs: 12_300, tookMs: null, detail: "the agent answers" },
		{ what: "test:TCP port 22", atMs: 12_310, tookMs: 420, detail: null },
		{ what: "test:the shop answers", atMs: 12_740, tookMs: 2_150, detail: null },
		{ what: "power-off", atMs: 15_400, tookMs: 2_300, detail: null },
	],
	timeToServiceMs: result === "failed" ? null : 14_470,
	readToBoot: 118 * 2 ** 20,
	readInAll: 131 * 2 ** 20,
	tests: [
		test("TCP port 22"),
		test("the shop answers", {
			kind: "http",
			result: result === "failed" ? "failed" : "passed",
			message: result === "failed" ? "connection refused" : "200 OK",
			output: "HTTP/1.1 200 OK\nserver: nginx\n\n<html><body>It works</body></html>",
			tookMs: 2_150,
			attempts: 2,
			value: { name: "answer", unit: "ms", amount: 35 },
		}),
	],
	screenshots: [{ when: result === "failed" ? "failure" : "stable", png: picture().toString("base64") }],
	console:
		"[    0.000000] Linux version 6.1.0-28-cloud-amd64\n[    1.204113] EXT4-fs (vda1): mounted filesystem\n\u001b[32m[  OK  ]\u001b[0m Started nginx.service\n\nDebian GNU/Linux 12 shop ttyS0\n\nshop login: ",
	addresses: ["192.168.7.20", "fe80::5054:ff:fe12:3456"],
	generationId: "7d1f0a52-9a6e-4f3c-8d7e-0c1b2a394857",
	...more,
});

export const run = (vms: VmReport[] = [vm("web1")], more: Partial<RunReport> = {}): RunReport => ({
	version: 1,
	id: randomBytes(16).toString("hex"),
	plan: "nightly",
	repository: REPOSITORY,
	host: { name: "this machine", type: "qemu", versions: { qemu: "7.2.15", kernel: "6.1.0-28-amd64" } },
	springback: "0.1.0",
	by: { user: "root for alice", machine: "backup1", command: "springback verify --plan nightly.yaml" },
	started: "2026-11-21T01:02:00.000Z",
	ended: "2026-11-21T01:03:10.000Z",
	result: vms.some(({ result }) => result === "failed") ? "failed" : "passed",
	limits: { parallel: 4, cpus: 8, memoryMiB: 8192, timeoutMs: 3_600_000 },
	labMode: "namespace",
	vms,
	...more,
});

/** A PNG of 320 × 200: light text blocks on black, as a console looks from afar. */
export const picture = (): Buffer => {
	const [width, height] = [320, 200];
	const rows = Buffer.alloc(height * (width + 1));
	for (let y = 0; y < height; y++)
		for (let x = 0; x < width; x++)
			rows[y * (width + 1) + 1 + x] =
				y % 10 < 6 && y < 120 && x < 40 + (((y - (y % 10)) * 37) % 260) && x % 6 < 4 ? 200 : 0;
	const header = Buffer.alloc(13);
	header.writeUInt32BE(width, 0);
	header.writeUInt32BE(height, 4);
	header.set([8, 0, 0, 0, 0], 8);
	const signature = Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]);
	return Buffer.concat([
		signature,
		chunk("IHDR", header),
		chunk("IDAT", deflateSync(rows)),
		chunk("IEND", Buffer.alloc(0)),
	]);
};

const chunk = (type: string, content: Buffer): Buffer => {
	const body = Buffer.concat([Buffer.from(type, "latin1"), content]);
	const framed = Buffer.alloc(body.length + 8);
	framed.writeUInt32BE(content.length, 0);
	framed.set(body, 4);
	framed.writeUInt32BE(crc32(body), body.length + 4);
	return framed;
};

/** ISO 3309, as PNG wants it. */
const crc32 = (bytes: Buffer): number => {
	let crc = ~0;
	for (const byte of bytes) {
		crc ^= byte;
		for (let k = 0; k < 8; k++) crc = (crc >>> 1) ^ (crc & 1 ? 0xedb88320 : 0);
	}
	return ~crc >>> 0;
};
