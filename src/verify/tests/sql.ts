/** A database server accepts connections, asked in its own protocol; and optionally, a query through the guest's agent. */
import { type TestContext, TestFailure, type TestKind, type TestOutcome } from "./contract.js";
import { objectSchema, port, regex, text, withDefaults } from "./options.js";
import { search } from "./pattern.js";
import { pingMysql } from "./sql/mysql.js";
import { pingPostgres } from "./sql/postgres.js";
import { pingSqlServer } from "./sql/server.js";
import { quoted } from "./text.js";
import { Wire } from "./wire.js";

interface Engine {
	port: number;
	ping(wire: Wire, database: string): Promise<string>;
	/** the query by a program of the guest, with the rights of the account that may */
	query?(options: Options): [string, string[]];
}

const ENGINES: Readonly<Record<string, Engine>> = {
	postgresql: {
		port: 5432,
		ping: pingPostgres,
		query: ({ query, database }) => [
			"runuser",
			[
				"-u",
				"postgres",
				"--",
				"psql",
				"-XAtq",
				"-v",
				"ON_ERROR_STOP=1",
				"-d",
				database ?? "postgres",
				"-c",
				query as string,
			],
		],
	},
	mysql: {
		port: 3306,
		ping: pingMysql,
		query: ({ query, database }) => [
			"mysql",
			[
				"--batch",
				"--skip-column-names",
				...(database === undefined ? [] : [`--database=${database}`]),
				"-e",
				query as string,
			],
		],
	},
	sqlserver: { port: 1433, ping: pingSqlServer },
};

const schema = objectSchema({
	engine: {
		type: "string",
		enum: ["auto", ...Object.keys(ENGINES)],
		description: "which protocol; auto: the first of them that answers on its own port",
		default: "auto",
	},
	port: port("TCP port; default: the engine's own"),
	database: text("database, for the query"),
	query: text("run in the guest through its agent by psql (as postgres) or mysql (as root); needs an engine"),
	expect: regex("regular expression for what the query prints"),
});

interface Options {
	engine: string;
	port?: number;
	database?: string;
	query?: string;
	expect?: string;
}

const portOf = ({ engine, port }: Options): number => port ?? ENGINES[engine].port;

export const sql: TestKind = {
	kind: "sql",
	summary: "a database server accepts connections (PostgreSQL, MySQL, MariaDB, SQL Server), without a password",
	schema,
	// A database that was not shut down recovers first.
	defaults: { timeoutMs: 15_000, retries: 11, retryMs: 5000 },
	options(given) {
		const options = withDefaults(schema, given) as unknown as Options;
		if (options.engine === "auto" && (options.port ?? options.query) !== undefined)
			throw new Error(`port and query need an engine: ${Object.keys(ENGINES).join(", ")}`);
		if (options.query !== undefined && ENGINES[options.engine].query === undefined)
			throw new Error(`a query of ${options.engine} is not known here: use the test "script"`);
		if (options.query === undefined && (options.expect ?? options.database) !== undefined)
			throw new Error("expect and database go with query");
		return options as unknown as Record<string, unknown>;
	},
	title: (options) => {
		const { engine } = options as unknown as Options;
		return engine === "auto" ? "database" : `${engine} on port ${portOf(options as unknown as Options)}`;
	},
	ports: (options) =>
		(options.engine === "auto" ? Object.keys(ENGINES) : [options.engine as string]).map((engine) => ({
			protocol: "tcp",
			port: portOf({ ...(options as unknown as Options), engine }),
		})),
	async run(given, context) {
		const options = given as unknown as Options;
		if (options.engine === "auto") return any(context);
		const outcome = await ping(options, context);
		return options.query === undefined ? outcome : await ask(options, context, outcome);
	},
};

const ping = async (options: Options, context: TestContext): Promise<TestOutcome> => {
	const began = performance.now();
	const wire = await Wire.open(context, { protocol: "tcp", port: portOf(options) });
	try {
		const message = await ENGINES[options.engine].ping(wire, "postgres");
		return { ok: true, message, value: { name: "answer", unit: "ms", amount: Math.round(performance.now() - began) } };
	} finally {
		wire.close();
	}
};

/** All at once, so that one that hangs does not keep the others from being asked. */
const any = async (context: TestContext): Promise<TestOutcome> => {
	const engines = Object.keys(ENGINES);
	const failures: string[] = [];
	const rest = new AbortController();
	const signal = AbortSignal.any([context.signal, rest.signal]);
	const asked = engines.map(async (engine, i) => {
		try {
			return await ping({ engine }, { ...context, signal });
		} catch (error) {
			if (!(error instanceof TestFailure)) throw error;
			failures[i] = `${engine}: ${error.message}`;
			throw error;
		}
	});
	try {
		return await Promise.any(asked);
	} catch (error) {
		const other = (error as AggregateError).errors.find((one) => !(one instanceof TestFailure));
		if (other !== undefined) throw other;
		throw new TestFailure("no database server answers on its usual port", { output: failures.join("\n") });
	} finally {
		rest.abort();
		await Promise.allSettled(asked);
	}
};

const ask = async (options: Options, context: TestContext, alive: TestOutcome): Promise<TestOutcome> => {
	const [program, args] = ENGINES[options.engine].query!(options);
	const { code, stdout, stderr } = await context.run(program, args, context.timeoutMs ?? sql.defaults.timeoutMs);
	const output = stdout + stderr;
	if (code !== 0)
		return {
			ok: false,
			message: `${alive.message}, but the query fails: ${(stderr || stdout).trim().split("\n")[0]}`,
			output,
		};
	if (options.expect !== undefined && !search(options.expect, stdout.slice(0, 65536)))
		return { ok: false, message: `the query answers ${quoted(stdout)}, expected /${options.expect}/`, output };
	return { ...alive, message: `${alive.message}; the query answers ${quoted(stdout)}`, output };
};
