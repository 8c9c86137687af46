/** Shapes of mappings and lists, and of values that may have one of several forms. */
import { isMap, isSeq } from "yaml";
import { type JsonSchema, refuse, type Shape } from "./shapes.js";
import { type Place, type Source, scalarOf } from "./source.js";
import { suggestion } from "./suggest.js";

export interface Field<T, Required extends boolean = boolean> {
	shape: Shape<T>;
	/** one line, for the schema and the docs */
	summary: string;
	required: Required;
}

export const must = <T>(shape: Shape<T>, summary: string): Field<T, true> => ({ shape, summary, required: true });
export const may = <T>(shape: Shape<T>, summary: string): Field<T, false> => ({ shape, summary, required: false });

type Fields = Record<string, Field<unknown>>;
type Value<F> = F extends Field<infer T> ? T : never;
export type Of<F extends Fields> = { [K in keyof F as F[K] extends Field<unknown, true> ? K : never]: Value<F[K]> } & {
	[K in keyof F as F[K] extends Field<unknown, true> ? never : K]?: Value<F[K]>;
};

/** A mapping with known members. What was read is there by name, and where it stood: `placeOf`. */
export const object = <F extends Fields>(
	words: string,
	fields: F,
	more: JsonSchema = {},
	/** for members that people look for here and that belong elsewhere: where */
	elsewhere: Readonly<Record<string, string>> = {},
): Shape<Of<F>> => ({
	words,
	schema: {
		type: "object",
		properties: Object.fromEntries(
			Object.entries(fields).map(([key, { shape, summary }]) => [key, { description: summary, ...shape.schema }]),
		),
		...requiredOf(fields),
		additionalProperties: false,
		...more,
	},
	read(place, source) {
		const entries = source.entries(place) ?? refuse(place, source, words);
		const found: Record<string, unknown> = {};
		for (const { key, keyPlace, value } of entries) {
			if (!Object.hasOwn(fields, key))
				source.fail(
					keyPlace,
					`"${key}" means nothing here: ${Object.hasOwn(elsewhere, key) ? elsewhere[key] : suggestion(key, Object.keys(fields))}`,
				);
			found[key] = fields[key].shape.read(value, source);
		}
		const missing = Object.keys(fields).find((key) => fields[key].required && found[key] === undefined);
		if (missing !== undefined)
			source.fail(place, `"${missing}" is missing: it is ${fields[missing].shape.words} (${fields[missing].summary})`);
		return found as Of<F>;
	},
});

const requiredOf = (fields: Fields): JsonSchema => {
	const required = Object.keys(fields).filter((key) => fields[key].required);
	return required.length === 0 ? {} : { required };
};

export interface Named<T> {
	key: string;
	keyPlace: Place;
	value: T;
}

/** A mapping of names that people choose, in their order. `empty`: what stands for a name with nothing behind it. */
export const mapping = <T>(
	words: string,
	key: { pattern: string; words: string },
	shape: Shape<T>,
	empty?: () => T,
): Shape<Named<T>[]> => ({
	words,
	schema: {
		type: "object",
		minProperties: 1,
		propertyNames: { pattern: key.pattern },
		additionalProperties: empty === undefined ? shape.schema : { anyOf: [{ type: "null" }, shape.schema] },
	},
	read(place, source) {
		const entries = source.entries(place) ?? refuse(place, source, words);
		if (entries.length === 0) source.fail(place, `is empty: it must be ${words}`);
		return entries.map(({ key: name, keyPlace, value }) => {
			if (!new RegExp(key.pattern, "u").test(name)) source.fail(keyPlace, `"${name}" is not ${key.words}`);
			const read = value.node === null && empty !== undefined ? empty() : shape.read(value, source);
			return { key: name, keyPlace, value: read };
		});
	},
});

export interface Item<T> {
	place: Place;
	value: T;
}

export const list = <T>(
	words: string,
	shape: Shape<T>,
	bounds: { min?: number; max?: number } = {},
): Shape<Item<T>[]> => ({
	words,
	schema: {
		type: "array",
		items: shape.schema,
		...(bounds.min === undefined ? {} : { minItems: bounds.min }),
		...(bounds.max === undefined ? {} : { maxItems: bounds.max }),
	},
	read(place, source) {
		const items = source.items(place) ?? refuse(place, source, words);
		if (items.length < (bounds.min ?? 0)) source.fail(place, `is empty: it must be ${words}`);
		if (items.length > (bounds.max ?? Infinity))
			source.fail(place, `has ${items.length} items: at most ${bounds.max} are allowed`);
		return items.map((item) => ({ place: item, value: shape.read(item, source) }));
	},
});

/** Reads as another shape does, and makes something else of it; `convert` may fail at the place. */
export const converted = <A, B>(shape: Shape<A>, convert: (value: A, place: Place, source: Source) => B): Shape<B> => ({
	words: shape.words,
	schema: shape.schema,
	read: (place, source) => convert(shape.read(place, source), place, source),
});

/** One shape for each form that may be written: a single value, a mapping, a list. */
export const forms = <T>(
	words: string,
	{ single, members, items }: { single?: Shape<T>; members?: Shape<T>; items?: Shape<T> },
): Shape<T> => ({
	words,
	schema: { anyOf: [single, members, items].filter((shape) => shape !== undefined).map(({ schema }) => schema) },
	read(place, source) {
		const { node } = place;
		const shape = isMap(node) ? members : isSeq(node) ? items : node === null ? undefined : single;
		return (shape ?? { read: () => refuse(place, source, words) as T }).read(place, source);
	},
});

/** A mapping whose member `by` says which other members there are. */
export const variants = <T>(words: string, by: string, kinds: Readonly<Record<string, Shape<T>>>): Shape<T> => ({
	words,
	schema: { oneOf: Object.values(kinds).map(({ schema }) => schema) },
	read(place, source) {
		const entries = source.entries(place) ?? refuse(place, source, words);
		const chosen = entries.find(({ key }) => key === by);
		if (chosen === undefined)
			return source.fail(place, `"${by}" is missing: it is one of ${Object.keys(kinds).join(", ")}`);
		const word = String(scalarOf(chosen.value));
		if (!Object.hasOwn(kinds, word))
			return source.fail(chosen.value, `"${word}" means nothing here: ${suggestion(word, Object.keys(kinds))}`);
		return kinds[word].read(place, source);
	},
});
