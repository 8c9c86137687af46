/** Options of kinds: an object schema with defaults, and reading them. */
import { matcher } from "./pattern.js";

/** A property of a JSON schema (draft 2020-12) whose default is filled in. */
export interface OptionSchema {
	type?: string | string[];
	description: string;
	default?: unknown;
	[keyword: string]: unknown;
}

export const objectSchema = (properties: Record<string, OptionSchema>, required: string[] = []): object => ({
	type: "object",
	additionalProperties: false,
	properties,
	...(required.length > 0 ? { required } : {}),
});

/** The options with defaults. Throws Error with one line when one is missing, unknown, or a regular expression is none. */
export const withDefaults = (schema: object, given: Record<string, unknown>): Record<string, unknown> => {
	const { properties, required = [] } = schema as {
		properties: Record<string, OptionSchema>;
		required?: string[];
	};
	for (const name of Object.keys(given))
		if (!Object.hasOwn(properties, name))
			throw new Error(`there is no option "${name}": ${Object.keys(properties).join(", ") || "none is known"}`);
	const options: Record<string, unknown> = {};
	for (const [name, { default: value, format }] of Object.entries(properties)) {
		options[name] = given[name] ?? value;
		if (format === "regex" && typeof options[name] === "string") matcher(options[name] as string);
	}
	for (const name of required) if (options[name] === undefined) throw new Error(`${name} is missing`);
	return options;
};

export const port = (description: string, value?: number): OptionSchema => ({
	type: "integer",
	minimum: 1,
	maximum: 65535,
	description,
	...(value === undefined ? {} : { default: value }),
});

export const text = (description: string, value?: string): OptionSchema => ({
	type: "string",
	minLength: 1,
	maxLength: 4096,
	description,
	...(value === undefined ? {} : { default: value }),
});

export const regex = (description: string): OptionSchema => ({ ...text(description), format: "regex" });

export const flag = (description: string, value = false): OptionSchema => ({
	type: "boolean",
	description,
	default: value,
});

export const texts = (description: string, value?: string[]): OptionSchema => ({
	type: "array",
	items: { type: "string", maxLength: 4096 },
	maxItems: 100,
	description,
	...(value === undefined ? {} : { default: value }),
});

export const whole = (description: string, minimum: number, maximum: number, value?: number): OptionSchema => ({
	type: "integer",
	minimum,
	maximum,
	description,
	...(value === undefined ? {} : { default: value }),
});

/** Options of what runs a program: a shell's command, or a program with arguments. Throws one line. */
export const invocable = (options: Record<string, unknown>): Record<string, unknown> => {
	const { shell, program, args } = options as { shell?: string; program?: string; args: string[] };
	if ((shell === undefined) === (program === undefined))
		throw new Error("either shell or program is needed, and not both");
	if (shell !== undefined && args.length > 0) throw new Error("args go with program, not with shell");
	return options;
};
