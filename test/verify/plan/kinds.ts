/** Kinds and roles to write plans with: what the options of real ones look like, none of which is run here. */
import type { Roles } from "../../../src/verify/plan/index.js";
import type { TestKind } from "../../../src/verify/tests/contract.js";

const kind = (name: string, properties: object, required: string[] = [], more: Partial<TestKind> = {}): TestKind => ({
	kind: name,
	summary: `${name} is tested`,
	schema: { type: "object", additionalProperties: false, properties, ...(required.length > 0 ? { required } : {}) },
	options: (given) => ({ ...given }),
	title: (options) => [name, ...Object.values(options).slice(0, 1)].join(" "),
	defaults: { timeoutMs: 10_000, retries: 2, retryMs: 5_000 },
	ports: () => [],
	run: () => Promise.reject(new Error("plans run nothing")),
	...more,
});
const port = { type: "integer", minimum: 1, maximum: 65535, description: "port" };

export const KINDS: readonly TestKind[] = [
	kind("boot", {
		quietMs: { type: "integer", minimum: 0, maximum: 600_000, description: "ms without output", default: 5000 },
		expect: { type: "string", format: "regex", description: "regular expression" },
	}),
	kind("agent", {}),
	kind("tcp", { port, expect: { type: "string", minLength: 1 } }, ["port"]),
	kind(
		"http",
		{
			port,
			tls: { type: "boolean" },
			path: { type: "string" },
			method: { type: "string", enum: ["GET", "HEAD"] },
			header: { type: "object", additionalProperties: { type: "string" } },
			names: { type: "array", items: { type: "string" }, maxItems: 2 },
		},
		[],
		{
			options: (given) => {
				if (given.path !== undefined && !String(given.path).startsWith("/"))
					throw new Error('path must begin with "/"');
				return { port: 80, path: "/", ...given };
			},
		},
	),
	kind("sql", { engine: { type: "string", enum: ["postgresql", "mysql"] }, user: { type: "string" } }, [
		"engine",
		"user",
	]),
];

const MINUTE = 60_000;
export const ROLES: Roles = {
	web: {
		summary: "web server",
		tests: [{ kind: "boot" }, { kind: "http", options: { port: 80 } }],
		timeoutMs: 15 * MINUTE,
		first: false,
	},
	database: { summary: "database", tests: [{ kind: "boot", optional: true }], timeoutMs: 20 * MINUTE, first: false },
	directory: {
		summary: "directory",
		tests: [{ kind: "tcp", options: { port: 389 } }],
		timeoutMs: 30 * MINUTE,
		first: true,
	},
};

export const VMS = ["db1", "dc1", "mail", "web1", "web2", "weird*name"];
