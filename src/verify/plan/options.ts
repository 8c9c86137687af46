/**
 * Options of a test as its kind's JSON schema describes them, read with places. Known keywords: type, enum, const,
 * properties, required, additionalProperties, items, minItems, maxItems, minLength, maxLength, pattern, minimum,
 * maximum, format (regex), anyOf, oneOf; others are not checked here, the kind itself does.
 */
import { isMap, isScalar, isSeq } from "yaml";
import type { JsonSchema, Shape } from "./shapes.js";
import { type Place, PlanError, type Source, scalarOf, seen } from "./source.js";
import { suggestion } from "./suggest.js";

export const bySchema = (schema: JsonSchema): Shape<unknown> => ({
	schema,
	words: describe(schema),
	read: (place, source) => read(schema, place, source),
});

const read = (schema: JsonSchema, place: Place, source: Source): unknown => {
	const alternatives = (schema.anyOf ?? schema.oneOf) as JsonSchema[] | undefined;
	if (alternatives !== undefined) return readOneOf(alternatives, schema, place, source);
	const type = typeOf(place);
	const wanted = typesOf(schema);
	if (wanted.length > 0 && !wanted.includes(type) && !(type === "integer" && wanted.includes("number")))
		return refuse(schema, place, source);
	if (isMap(place.node)) return readObject(schema, place, source);
	if (isSeq(place.node)) return readArray(schema, place, source);
	const value = place.node === null ? null : scalarOf(place);
	if (value === undefined || !scalarFits(schema, value)) refuse(schema, place, source);
	return value;
};

const readObject = (schema: JsonSchema, place: Place, source: Source): Record<string, unknown> => {
	const properties = (schema.properties ?? {}) as Record<string, JsonSchema>;
	const rest = schema.additionalProperties as JsonSchema | boolean | undefined;
	const found: Record<string, unknown> = {};
	for (const { key, keyPlace, value } of source.entries(place) ?? []) {
		const known = Object.hasOwn(properties, key) ? properties[key] : typeof rest === "object" ? rest : undefined;
		if (known === undefined && rest === false)
			source.fail(keyPlace, `"${key}" means nothing here: ${suggestion(key, Object.keys(properties))}`);
		Object.defineProperty(found, key, {
			value: read(known ?? {}, value, source),
			enumerable: true,
			configurable: true,
			writable: true,
		});
	}
	for (const name of (schema.required ?? []) as string[])
		if (!Object.hasOwn(found, name))
			source.fail(place, `"${name}" is missing: it is ${describe(properties[name] ?? {})}`);
	return found;
};

const readArray = (schema: JsonSchema, place: Place, source: Source): unknown[] => {
	const items = source.items(place) ?? [];
	const [fewest, most] = [count(schema.minItems, 0), count(schema.maxItems, Infinity)];
	if (items.length < fewest) source.fail(place, `has ${items.length} items: at least ${fewest} are needed`);
	if (items.length > most) source.fail(place, `has ${items.length} items: at most ${most} are allowed`);
	return items.map((item) => read((schema.items ?? {}) as JsonSchema, item, source));
};

const readOneOf = (alternatives: JsonSchema[], schema: JsonSchema, place: Place, source: Source): unknown => {
	const type = typeOf(place);
	// The complaint of the only alternative that this kind of value can be says more than "none fits".
	const near = alternatives.filter((one) => {
		const types = typesOf(one);
		return types.length === 0 || types.includes(type) || (type === "integer" && types.includes("number"));
	});
	if (near.length === 1) return read(near[0], place, source);
	for (const one of near) {
		try {
			return read(one, place, source);
		} catch (error) {
			if (!(error instanceof PlanError)) throw error;
		}
	}
	return refuse(schema, place, source);
};

const refuse = (schema: JsonSchema, place: Place, source: Source): never =>
	source.fail(place, `${seen(place)} is not ${describe(schema)}`);

const scalarFits = (schema: JsonSchema, value: string | number | boolean | null): boolean => {
	if (schema.enum !== undefined && !(schema.enum as unknown[]).includes(value)) return false;
	if (schema.const !== undefined && schema.const !== value) return false;
	if (typeof value === "number")
		return value >= count(schema.minimum, -Infinity) && value <= count(schema.maximum, Infinity);
	if (typeof value !== "string") return true;
	const length = [...value].length;
	return (
		length >= count(schema.minLength, 0) &&
		length <= count(schema.maxLength, Infinity) &&
		(schema.pattern === undefined || new RegExp(schema.pattern as string, "u").test(value)) &&
		(schema.format !== "regex" || isExpression(value))
	);
};

const isExpression = (value: string): boolean => {
	try {
		new RegExp(value, "mu");
		return true;
	} catch {
		return false;
	}
};

const count = (value: unknown, fallback: number): number => (typeof value === "number" ? value : fallback);

const typesOf = ({ type }: JsonSchema): string[] =>
	type === undefined ? [] : Array.isArray(type) ? type : [type as string];

const typeOf = ({ node }: Place): string => {
	if (node === null) return "null";
	if (isMap(node)) return "object";
	if (isSeq(node)) return "array";
	const value = isScalar(node) ? node.value : undefined;
	return Number.isInteger(value) ? "integer" : typeof value;
};

const TYPES: Readonly<Record<string, string>> = {
	string: "text",
	integer: "a whole number",
	number: "a number",
	boolean: "true or false",
	array: "a list",
	object: "a mapping",
	null: "nothing",
};

/** A schema in words, for messages. */
const describe = (schema: JsonSchema): string => {
	const alternatives = (schema.anyOf ?? schema.oneOf) as JsonSchema[] | undefined;
	if (alternatives !== undefined) return alternatives.map(describe).join(", or ");
	if (schema.enum !== undefined) return `one of ${(schema.enum as unknown[]).join(", ")}`;
	if (schema.const !== undefined) return String(schema.const);
	const types = typesOf(schema).map((type) => TYPES[type] ?? type);
	const words = schema.format === "regex" ? "a regular expression" : types.join(" or ") || "a value";
	const [low, high] = [schema.minimum, schema.maximum];
	const range =
		low !== undefined && high !== undefined
			? ` from ${low} to ${high}`
			: low !== undefined
				? ` of at least ${low}`
				: high !== undefined
					? ` of at most ${high}`
					: "";
	const { description } = schema;
	return `${words}${range}${typeof description === "string" ? ` (${description})` : ""}`;
};
