/**
 * Options of a kind of test as plans write them: a single value for the main option, and durations: `quietMs` (a whole
 * number) of the kind is `quiet: 5s` in a plan.
 */
import type { TestKind } from "../tests/contract.js";
import { bySchema } from "./options.js";
import { duration, durationOf, type JsonSchema } from "./shapes.js";
import { type Place, type Source, seen } from "./source.js";
import { inWords } from "./words.js";

interface ObjectSchema extends JsonSchema {
	properties: Record<string, JsonSchema>;
	required: string[];
}

const ofKind = ({ schema }: TestKind): ObjectSchema => ({ properties: {}, required: [], ...schema }) as ObjectSchema;

const isMs = (name: string, { type }: JsonSchema): boolean => name.endsWith("Ms") && type === "integer";

/** The schema of the options in a plan. */
export const optionSchema = (kind: TestKind): ObjectSchema => {
	const { properties, required, ...rest } = ofKind(kind);
	const rename = (name: string) => (isMs(name, properties[name] ?? {}) ? name.slice(0, -2) : name);
	return {
		...rest,
		properties: Object.fromEntries(
			Object.entries(properties).map(([name, property]) => [
				rename(name),
				isMs(name, property) ? durationSchema(property) : property,
			]),
		),
		required: required.map(rename),
	};
};

const durationSchema = ({ default: value, description }: JsonSchema): JsonSchema => ({
	...duration.schema,
	...(typeof description === "string" ? { description: description.replace(/^ms /, "") } : {}),
	...(typeof value === "number" ? { default: `${value}ms` } : {}),
});

/** Options that a plan must give. */
export const requiredOf = (kind: TestKind): string[] => optionSchema(kind).required;

/** The option that a single value stands for: `tcp: 22` is `tcp: {port: 22}`. Undefined: there is none. */
export const shortOption = (kind: TestKind): string | undefined => {
	const { properties, required } = optionSchema(kind);
	const option = required.length === 1 ? required[0] : required.length === 0 ? Object.keys(properties)[0] : undefined;
	return option !== undefined && properties[option]?.type !== "object" ? option : undefined;
};

/** Reads what stands behind `KIND:`, and has the kind fill in the rest. */
export const readOptions = (kind: TestKind, value: Place, source: Source): Record<string, unknown> => {
	const schema = optionSchema(kind);
	if (value.node === null && schema.required.length > 0)
		source.fail(value, `"${schema.required[0]}" is missing: write ${exampleOf(kind)}`);
	const option = shortOption(kind);
	if (value.node === null) return filledIn(kind, {}, value, source);
	if (source.entries(value) !== undefined)
		return filledIn(kind, bySchema(schema).read(value, source) as Record<string, unknown>, value, source);
	if (option === undefined) return source.fail(value, `${seen(value)} is not a mapping of options`);
	return filledIn(kind, { [option]: bySchema(schema.properties[option]).read(value, source) }, value, source);
};

export const filledIn = (
	kind: TestKind,
	given: Record<string, unknown>,
	place: Place,
	source: Source,
): Record<string, unknown> => {
	const { properties } = ofKind(kind);
	const options = Object.entries(given).map(([name, value]) => {
		const property = properties[`${name}Ms`];
		if (property === undefined || !isMs(`${name}Ms`, property)) return [name, value];
		const ms = durationOf(value)!;
		const { minimum = 0, maximum = Infinity } = property as { minimum?: number; maximum?: number };
		if (ms < minimum || ms > maximum)
			source.fail(place, `${name} ${value} is not from ${inWords(minimum)} to ${inWords(maximum)}`);
		return [`${name}Ms`, ms];
	});
	try {
		return kind.options(Object.fromEntries(options));
	} catch (error) {
		return source.fail(place, (error instanceof Error ? error.message : String(error)).split("\n")[0]);
	}
};

/** "tcp: NUMBER": a test with the options that it needs, for messages and comments. */
export const exampleOf = (kind: TestKind): string => {
	const { properties, required } = optionSchema(kind);
	const option = shortOption(kind);
	if (required.length === 0)
		return worksAlone(kind) || option === undefined ? kind.kind : `${kind.kind}: ${option.toUpperCase()}`;
	const words = required.map((name): [string, string] => {
		const { type, enum: values } = properties[name] ?? {};
		return [name, Array.isArray(values) ? String(values[0]) : type === "integer" ? "NUMBER" : name.toUpperCase()];
	});
	if (option !== undefined) return `${kind.kind}: ${words[0][1]}`;
	return `${kind.kind}: {${words.map(([name, word]) => `${name}: ${word}`).join(", ")}}`;
};

/** Some kinds need one of several options, which a schema of one level cannot say. */
const worksAlone = (kind: TestKind): boolean => {
	try {
		kind.options({});
		return true;
	} catch {
		return false;
	}
};
