/** Requests to a RecordQueue in memory, laid out as `native/src/record_queue.cc` reads them: no object for each. */

/** bytes of one request */
export const RECORD_REQUEST_BYTES = 136;
const IDENTITY_AT = 32;
const SEAL_AT = 64;
const TYPE_AT = 128;
const SEALED_AT = 129;

export class RecordRequests {
	readonly bytes: Uint8Array;
	readonly #doubles: Float64Array;
	readonly #words: Uint32Array;

	constructor(capacity: number) {
		const memory = new ArrayBuffer(capacity * RECORD_REQUEST_BYTES);
		this.bytes = new Uint8Array(memory);
		this.#doubles = new Float64Array(memory);
		this.#words = new Uint32Array(memory);
	}

	/** As the members of RecordRead; the identity is the 32 bytes of `identity` at `identityAt`. */
	set(
		request: number,
		ticket: number,
		fd: number,
		position: number,
		length: number,
		identity: Uint8Array,
		identityAt: number,
		type: number,
		rawLength: number,
		targetOffset: number,
		seal: Uint8Array | undefined,
	): void {
		const at = request * RECORD_REQUEST_BYTES;
		this.#doubles[at / 8] = position;
		this.#doubles[at / 8 + 1] = targetOffset;
		this.#words[at / 4 + 4] = fd;
		this.#words[at / 4 + 5] = length;
		this.#words[at / 4 + 6] = rawLength;
		this.#words[at / 4 + 7] = ticket;
		const { bytes } = this;
		for (let n = 0; n < 32; n++) bytes[at + IDENTITY_AT + n] = identity[identityAt + n];
		bytes[at + TYPE_AT] = type;
		bytes[at + SEALED_AT] = seal === undefined ? 0 : 1;
		if (seal !== undefined) bytes.set(seal, at + SEAL_AT);
	}
}
