/** Check, part two: packs by header, table and trailer, and with `readData` every record's checksum and SHA-256. */
import { availableParallelism } from "node:os";
import { createLane, type Lane } from "../../native/index.js";
import { type CheckOptions, type Faults, interrupted } from "./check.js";
import { ENTRY_BYTES } from "./identity-table.js";
import type { Index, Locator } from "./index-set.js";
import type { Keyring } from "./keyring.js";
import { IDENTITY_BYTES, packName, TYPE } from "./layout.js";
import { PACK_TRAILER_BYTES } from "./pack-format.js";
import { presentPacks } from "./pack-inventory.js";
import { readPackTable } from "./pack-reader.js";
import { PackSeals } from "./pack-seals.js";
import type { Store } from "./store.js";

/** Plain bytes that are verified at once. */
const BATCH_BYTES = 4 * 1024 * 1024;

/** What is known about packs after their check. */
export class PackReport {
	count = 0;
	blocks = 0;
	bytesRead = 0;
	/** bytes of packs that are there */
	readonly sizes = new Map<string, number>();
	/** "pack:offset" of records that must not be served, with the reason */
	readonly badRecords = new Map<string, string>();

	/** Why a record cannot be had, or undefined. */
	faultOf({ pack, offset, length }: Locator): { kind: string; message: string } | undefined {
		const file = packName(pack);
		const size = this.sizes.get(pack);
		if (size === undefined) return { kind: "missing-pack", message: `${file} is missing` };
		if (offset + length + PACK_TRAILER_BYTES > size)
			return { kind: "truncated-pack", message: `${file} is cut short: it has ${size} bytes` };
		const bad = this.badRecords.get(`${pack}:${offset}`);
		return bad === undefined ? undefined : { kind: "bad-record", message: bad };
	}
}

export const checkPacks = async (
	store: Store,
	keyring: Keyring,
	blockSize: number,
	index: Index,
	faults: Faults,
	options: CheckOptions,
	/** packs that a prune which was cut short may have deleted already */
	condemned: ReadonlySet<string>,
): Promise<PackReport> => {
	const report = new PackReport();
	for (const folder of await store.list("packs")) {
		for (const name of await store.list(`packs/${folder}`))
			if (!/^[0-9a-f]{32}$/.test(name) || !name.startsWith(folder))
				faults.of("unknown-file", `packs/${folder}/${name}`, `packs/${folder}/${name} is not part of a repository`);
	}
	const expected = new Map(index.segments.flatMap(({ packs }) => packs.map(({ id, size }) => [id, size] as const)));
	const present = await presentPacks(store);
	for (const id of expected.keys())
		if (!present.has(id) && !condemned.has(id)) faults.of("missing-pack", packName(id), `${packName(id)} is missing`);
	report.count = present.size;
	const total = options.readData ? [...expected.values()].reduce((sum, size) => sum + size, 0) : present.size;
	let done = 0;
	const verifier = options.readData ? new RecordVerifier(store, keyring, blockSize, report, faults) : undefined;
	try {
		for (const id of present) {
			interrupted(options.signal);
			const table = await readPackTable(store, id, keyring);
			if (table === undefined) continue;
			report.sizes.set(id, table.size);
			if (table.fault !== undefined) {
				const short = table.size < (expected.get(id) ?? 0);
				faults.of(short ? "truncated-pack" : "bad-pack", packName(id), `${packName(id)}: ${table.fault}`);
			}
			for (let at = 0; at < table.entries.length; at += ENTRY_BYTES)
				if (table.entries[at + 47] === TYPE.block) report.blocks += 1;
			await verifier?.verify(id, table.entries, options.signal);
			done += options.readData ? table.size : 1;
			options.progress?.({ done, total: Math.max(total, done), what: "packs" });
		}
	} finally {
		await verifier?.close();
	}
	return report;
};

/** Reads records back and compares SHA-256 with their identity. */
class RecordVerifier {
	readonly #lane: Lane = createLane("repository-check", availableParallelism());
	readonly #seals: PackSeals;
	readonly #buffer: Buffer;

	constructor(
		private readonly store: Store,
		private readonly keyring: Keyring,
		private readonly blockSize: number,
		private readonly report: PackReport,
		private readonly faults: Faults,
	) {
		this.#seals = new PackSeals(store, keyring);
		this.#buffer = Buffer.allocUnsafeSlow(Math.max(BATCH_BYTES, blockSize));
	}

	async verify(pack: string, entries: Buffer, signal: AbortSignal | undefined): Promise<void> {
		const slots = this.#buffer.length / this.blockSize;
		const count = entries.length / ENTRY_BYTES;
		for (let first = 0; first < count; ) {
			interrupted(signal);
			const kind = entries[first * ENTRY_BYTES + 47];
			// Blocks go through the native hasher together; pages and objects, of any length, one at a time.
			let last = first + 1;
			while (kind === TYPE.block && last < count && last - first < slots && entries[last * ENTRY_BYTES + 47] === kind)
				last++;
			await this.#batch(pack, entries.subarray(first * ENTRY_BYTES, last * ENTRY_BYTES));
			first = last;
		}
	}

	async #batch(pack: string, entries: Buffer): Promise<void> {
		const file = packName(pack);
		await this.#seals.load([pack]);
		const seal = this.#seals.of(pack);
		const records = [];
		for (let at = 0, n = 0; at < entries.length; at += ENTRY_BYTES, n++) {
			const identity = entries.subarray(at, at + IDENTITY_BYTES);
			const packed = entries.readUInt32LE(at + 44);
			const rawLength = packed & 0xffffff;
			records.push({
				file,
				identity,
				position: entries.readUInt32LE(at + 36),
				length: entries.readUInt32LE(at + 40),
				type: packed >>> 24,
				rawLength,
				target: this.#buffer,
				targetOffset: n * this.blockSize,
				seal,
			});
		}
		const fits = records.every(({ rawLength, targetOffset }) => targetOffset + rawLength <= this.#buffer.length);
		const blocksFit = records.length === 1 || records.every(({ rawLength }) => rawLength <= this.blockSize);
		if (!fits || !blocksFit) {
			for (const { position } of records) this.#bad(pack, position, "its length is impossible");
			return;
		}
		const statuses = await this.store.readRecords(records);
		const hashed =
			records.length > 1
				? await this.#lane.hashBlocks(
						this.#buffer.subarray(0, records.length * this.blockSize),
						this.blockSize,
						this.keyring.identityKey,
					)
				: undefined;
		records.forEach(({ identity, position, length, rawLength, targetOffset }, n) => {
			this.report.bytesRead += length;
			if (statuses[n] !== "ok") {
				this.#bad(pack, position, `record is damaged (${statuses[n]})`);
				return;
			}
			const whole = hashed !== undefined && rawLength === this.blockSize && hashed.zero[n] === 0;
			const actual = whole
				? hashed.identities.subarray(n * IDENTITY_BYTES, (n + 1) * IDENTITY_BYTES)
				: this.keyring.identityOf(this.#buffer.subarray(targetOffset, targetOffset + rawLength));
			if (!actual.equals(identity)) this.#bad(pack, position, "content differs from its SHA-256");
		});
	}

	#bad(pack: string, position: number, why: string): void {
		const message = `${packName(pack)} at offset ${position}: ${why}`;
		this.report.badRecords.set(`${pack}:${position}`, message);
		this.faults.of("bad-record", packName(pack), message);
	}

	async close(): Promise<void> {
		await this.#lane.close();
	}
}
