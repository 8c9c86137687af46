/**
 * An Image that belongs to a session: once that is no longer served everything fails as closed, which ends the
 * connections that use it; failures are logged, and told in words that the NBD server knows.
 */
import { type Extent, type Image, ImageError, type Loan, type WritableImage } from "../../image/image.js";
import { OverlayError } from "../../overlay/index.js";
import type { Meter } from "./meter.js";

export interface Owner {
	isServed(): boolean;
	/** takes one line; names session and disk by itself */
	log(line: string): void;
}

export class ServedImage<I extends Image> implements Image {
	readonly size: number;

	constructor(
		protected readonly image: I,
		private readonly owner: Owner,
	) {
		this.size = image.size;
	}

	read(offset: number, target: Buffer): void | Promise<void> {
		return this.guard("read", offset, target.length, () => this.image.read(offset, target));
	}

	borrow(offset: number, length: number): Loan[] | undefined {
		return this.guard("read", offset, length, () => this.image.borrow?.(offset, length));
	}

	extents(offset: number, length: number): Extent[] | Promise<Extent[]> {
		return this.guard("block status", offset, length, () => this.image.extents(offset, length));
	}

	/** The image is its session's to close. */
	async close(): Promise<void> {}

	/** Runs `act`, or fails as closed; what fails in it is logged. */
	guard<T>(what: string, offset: number, length: number, act: () => T): T {
		try {
			if (!this.owner.isServed()) throw new ImageError("ECLOSED", "the session is no longer served", offset, length);
			const result = act();
			if (!(result instanceof Promise)) return result;
			return result.catch((error: unknown) => {
				throw this.failed(error, what, offset, length);
			}) as T;
		} catch (error) {
			throw this.failed(error, what, offset, length);
		}
	}

	protected failed(error: unknown, what: string, offset: number, length: number): unknown {
		const failure = this.owner.isServed()
			? asImageError(error, offset, length)
			: new ImageError("ECLOSED", "the session is no longer served", offset, length, { cause: error });
		if (failure instanceof ImageError && failure.code !== "ECLOSED" && failure.code !== "ENOSPC")
			this.owner.log(`${what} of ${length} bytes at ${offset} failed: ${failure.message}`);
		return failure;
	}
}

export class ServedDisk extends ServedImage<WritableImage> implements WritableImage {
	constructor(
		image: WritableImage,
		owner: Owner,
		private readonly meter: Meter,
	) {
		super(image, owner);
	}

	override read(offset: number, target: Buffer): void | Promise<void> {
		this.meter.read(offset, target.length);
		return super.read(offset, target);
	}

	override borrow(offset: number, length: number): Loan[] | undefined {
		const loans = super.borrow(offset, length);
		// Else it is read.
		if (loans !== undefined) this.meter.read(offset, length);
		return loans;
	}

	write(offset: number, data: Buffer): Promise<void> {
		this.meter.wrote(data.length);
		return this.guard("write", offset, data.length, () => this.image.write(offset, data));
	}

	writeStable(offset: number, data: Buffer): Promise<void> {
		this.meter.wrote(data.length);
		return this.guard("write", offset, data.length, () => this.image.writeStable!(offset, data));
	}

	zero(offset: number, length: number): Promise<void> {
		this.meter.wrote(length);
		return this.guard("write zeroes", offset, length, () => this.image.zero!(offset, length));
	}

	flush(): Promise<void> {
		return this.guard("flush", 0, 0, () => this.image.flush());
	}

	protected override failed(error: unknown, what: string, offset: number, length: number): unknown {
		this.meter.failed();
		return super.failed(error, what, offset, length);
	}
}

/** A file that is gone leaves nothing to serve. */
function asImageError(error: unknown, offset: number, length: number): unknown {
	if (!(error instanceof OverlayError)) return error;
	const gone = error.code === "ESTALE" || error.code === "ENOENT";
	const code = gone ? "ECLOSED" : error.code === "ENOSPC" ? "ENOSPC" : "EIO";
	return new ImageError(code, error.message, offset, length, { cause: error });
}
