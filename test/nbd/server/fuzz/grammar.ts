/** Options and requests as a client could send them, mutated with the grammar in mind. Everything follows from a seed. */
import { contextRequest, infoRequest, option, request, u32 } from "../raw-client.js";

/** mulberry32 */
export function random(seed: number): (limit: number) => number {
	let a = seed >>> 0;
	return (limit) => {
		a = (a + 0x6d2b79f5) >>> 0;
		let x = Math.imul(a ^ (a >>> 15), 1 | a);
		x = (x + Math.imul(x ^ (x >>> 7), 61 | x)) ^ x;
		return Math.floor((((x ^ (x >>> 14)) >>> 0) / 4294967296) * limit);
	};
}

/** What is sent, and what must follow from it. */
export interface Input {
	bytes: Buffer;
	/** an answer must come */
	answered: boolean;
	/** the server may end the connection because of it */
	ends: boolean;
}

const NAMES = [
	"disk",
	"fixed",
	"",
	"other",
	"disk/",
	"d".repeat(4096),
	"d".repeat(4097),
	"\0",
	"\ud7ff\uffff",
	"../disk",
];
const QUERIES = [
	"base:allocation",
	"base:",
	"",
	":",
	"qemu:",
	"x:one",
	"qemu:dirty-bitmap:",
	"b".repeat(4096),
	"b".repeat(4097),
];
const LIMIT = 64 * 1024;

export class Grammar {
	readonly #chance: (limit: number) => number;

	constructor(
		seed: number,
		/** of the exports, in bytes */
		private readonly size: number,
	) {
		this.#chance = random(seed);
	}

	chance(limit: number): number {
		return this.#chance(limit);
	}

	#one<T>(list: readonly T[]): T {
		return list[this.#chance(list.length)];
	}

	/** One option that does not lead out of the handshake, most of the time. */
	option(): Input {
		const number = this.#one([2, 3, 3, 5, 6, 6, 7, 8, 8, 9, 9, 10, 10, 10, 11, 0, 4, 255, 0x7fffffff, 0xffffffff]);
		let data = this.#optionData(number);
		switch (this.#chance(8)) {
			case 0:
				data = data.subarray(0, this.#chance(data.length + 1));
				break;
			case 1:
				data = Buffer.concat([data, Buffer.alloc(1 + this.#chance(20), this.#chance(256))]);
				break;
			case 2:
				data = this.#flip(data);
				break;
		}
		// Behind GO come requests, and behind ABORT nothing: both are sent on purpose only.
		if (number === 7) return { bytes: option(6, data), answered: true, ends: false };
		if (number === 2) return { bytes: option(0x77, data), answered: true, ends: false };
		return { bytes: option(number, data), answered: data.length <= LIMIT, ends: data.length > LIMIT };
	}

	#optionData(number: number): Buffer {
		if (number === 6 || number === 7)
			return infoRequest(this.#one(NAMES), ...Array.from({ length: this.#chance(5) }, () => this.#chance(6)));
		if (number === 9 || number === 10)
			return contextRequest(this.#one(NAMES), ...Array.from({ length: this.#chance(6) }, () => this.#one(QUERIES)));
		return this.#chance(4) > 0 ? Buffer.alloc(0) : Buffer.alloc(this.#chance(200), this.#chance(256));
	}

	#flip(data: Buffer): Buffer {
		const copy = Buffer.from(data);
		if (copy.length > 0) copy[this.#chance(copy.length)] ^= 1 << this.#chance(8);
		return copy;
	}

	/** An option that cannot be followed. */
	brokenOption(): Input {
		const good = this.option().bytes;
		const bytes = this.#one([
			() => Buffer.concat([Buffer.from("IHAVEOPS"), good.subarray(8)]),
			() => Buffer.concat([good.subarray(0, 12), u32(0xffffffff)]),
			() => Buffer.concat([good.subarray(0, 12), u32(LIMIT + 1)]),
			() => good.subarray(0, this.#chance(16)),
		])();
		return { bytes, answered: false, ends: true };
	}

	/** One request whose frame is whole, with fields as they should be or not. */
	request(cookie: number): Input {
		const command = this.#one([0, 0, 0, 1, 1, 1, 3, 4, 5, 6, 6, 7, 7, 8, 99, 0xffff]);
		const flags = this.#chance(3) > 0 ? this.#one([0, 0, 1, 2, 4, 8, 16]) : this.#chance(0x10000);
		const offset = this.#offset();
		const length = this.#length();
		if (command !== 1)
			return { bytes: request({ command, flags, cookie, offset, length }), answered: true, ends: false };
		const data = Buffer.alloc(Math.min(length, 100_000), cookie & 0xff);
		return { bytes: request({ command, flags, cookie, offset, data }), answered: true, ends: false };
	}

	#offset(): bigint {
		const near = BigInt(this.size);
		return this.#one([
			() => BigInt(this.#chance(this.size)),
			() => BigInt(this.#chance(this.size)),
			() => BigInt(512 * this.#chance(this.size / 512)),
			() => near - BigInt(this.#chance(5000)),
			() => near + BigInt(this.#chance(5000)),
			() => 2n ** 64n - 1n - BigInt(this.#chance(5000)),
			() => 2n ** BigInt(this.#chance(64)),
			() => 0n,
		])();
	}

	#length(): number {
		return this.#one([
			() => this.#chance(5000),
			() => 512 * this.#chance(200),
			() => this.#chance(this.size),
			() => 0,
			() => 1,
			() => 0xffffffff,
			() => 2 ** this.#chance(32),
			() => 32 * 1024 * 1024 + this.#chance(3) - 1,
		])();
	}

	/** A request that cannot be followed, or does not come whole. */
	brokenRequest(): Input {
		const good = request({ command: this.#one([0, 1, 3, 7]), cookie: 1, length: 512 });
		const bytes = this.#one([
			() => request({ command: 0, magic: this.#one([0, 0x25609514, 0x67446698, 0xffffffff]) }),
			() => good.subarray(0, this.#chance(28)),
			() => request({ command: 1, length: 32 * 1024 * 1024 + 1 + this.#chance(1000) }),
			() => Buffer.concat([request({ command: 1, length: 5000 }), Buffer.alloc(this.#chance(5000))]),
			() => request({ command: 2 }),
			() => Buffer.alloc(28 + this.#chance(200), this.#chance(256)),
		])();
		return { bytes, answered: false, ends: true };
	}
}
