/**
 * Shapes of single values. A shape is both: how a value is read, and its JSON schema; so the two cannot disagree.
 * Shapes of mappings and lists: `structures.ts`.
 */
import { type Place, type Source, scalarOf, seen } from "./source.js";

export type JsonSchema = Record<string, unknown>;

export interface Shape<T> {
	readonly schema: JsonSchema;
	/** what it is, for messages: "a duration such as 90s or 5m" */
	readonly words: string;
	/** Throws PlanError. */
	read(place: Place, source: Source): T;
}

/** Anything wrong becomes "X is not WORDS". */
export const refuse = (place: Place, source: Source, words: string): never =>
	place.node === null
		? source.fail(place, `nothing is written here: it must be ${words}`)
		: source.fail(place, `${seen(place)} is not ${words}`);

/** Text that matches; a number such as 12 counts as the text "12" only where `numbers` says so. */
export const text = (words: string, pattern?: string, options: { numbers?: boolean } = {}): Shape<string> => {
	const expression = new RegExp(pattern ?? "^[^]+$", "u");
	return {
		words,
		schema: {
			type: options.numbers ? ["string", "number"] : "string",
			...(pattern === undefined ? { minLength: 1 } : { pattern }),
		},
		read(place, source) {
			const value = scalarOf(place);
			const word = options.numbers && typeof value === "number" ? String(value) : value;
			return typeof word === "string" && expression.test(word) ? word : refuse(place, source, words);
		},
	};
};

export const choice = <const T extends string>(values: readonly T[]): Shape<T> => {
	const words = `one of ${values.join(", ")}`;
	return {
		words,
		schema: { enum: [...values] },
		read(place, source) {
			const value = scalarOf(place);
			return values.find((one) => one === value) ?? refuse(place, source, words);
		},
	};
};

export const only = <const T extends number>(value: T): Shape<T> => ({
	words: String(value),
	schema: { const: value },
	read: (place, source) => (scalarOf(place) === value ? value : refuse(place, source, String(value))),
});

export const flag: Shape<boolean> = {
	words: "true or false",
	schema: { type: "boolean" },
	read(place, source) {
		const value = scalarOf(place);
		return typeof value === "boolean" ? value : refuse(place, source, this.words);
	},
};

export const integer = (minimum: number, maximum: number): Shape<number> => {
	const words = `a whole number from ${minimum} to ${maximum}`;
	return {
		words,
		schema: { type: "integer", minimum, maximum },
		read(place, source) {
			const value = scalarOf(place);
			const good = typeof value === "number" && Number.isInteger(value) && value >= minimum && value <= maximum;
			return good ? value : refuse(place, source, words);
		},
	};
};

const DURATION = "^([0-9]{1,9}(\\.[0-9]{1,3})?)(ms|s|m|h|d)$";
const UNITS: Readonly<Record<string, number>> = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 };

/** ms of "500ms", "90s", "5m", "2h", "1d"; undefined when it is none. */
export const durationOf = (value: unknown): number | undefined => {
	const match = typeof value === "string" ? new RegExp(DURATION).exec(value) : null;
	return match === null ? undefined : Math.round(Number(match[1]) * UNITS[match[3]]);
};

/** ms; a number without a unit is refused, because people take it for seconds, minutes or milliseconds. */
export const duration: Shape<number> = {
	words: "a duration: write 500ms, 90s, 5m, 2h or 1d",
	schema: { type: "string", pattern: DURATION },
	read(place, source) {
		return durationOf(scalarOf(place)) ?? refuse(place, source, this.words);
	},
};

const SIZE = "^([0-9]{1,9})([mgtMGT])$";
const MEBIBYTES: Readonly<Record<string, number>> = { m: 1, g: 1024, t: 1024 * 1024 };

/** MiB of "512m", "2g", "1t". */
export const memory: Shape<number> = {
	words: "an amount of memory: write 512m or 2g",
	schema: { type: "string", pattern: SIZE },
	read(place, source) {
		const match = new RegExp(SIZE).exec(String(scalarOf(place)));
		const mebibytes = match === null ? 0 : Number(match[1]) * MEBIBYTES[match[2].toLowerCase()];
		return mebibytes > 0 ? mebibytes : refuse(place, source, this.words);
	},
};
