/** springback verify */
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { stringify } from "yaml";
import type { Repository } from "../../repository/index.js";
import { type RunReport, type VerificationPlan, type VerifyEvent, type VmReport, verify } from "../../verify/index.js";
import { explain, explanation, initialPlan, parsePlan } from "../../verify/plan/index.js";
import { KINDS, ROLES } from "../../verify/tests/index.js";
import { vmConfigFrom } from "../../vm/index.js";
import type { Command, Context } from "../command.js";
import { EXIT, UsageError } from "../exit.js";
import { openNamed } from "../keys.js";
import { table } from "../output.js";
import { catalogPlaces } from "../places.js";
import { count, duration, flag, size, text } from "../values.js";
import { type Kept, keepReport, verifiedPoints } from "../verify-reports.js";
import { inVerifyWorld } from "../verifying.js";

const MIB = 2 ** 20;

const command: Command = {
	summary: "boots restore points in isolated labs, tests them, and keeps the evidence",
	help: `springback verify VM… | --plan FILE | --init [VM…]
  Boots each VM from its newest restore point in a lab without a way out, tests it there, takes everything away, and keeps
  a signed report. Nothing in production is touched, nothing is written to the restore point.
  VM…               names, or patterns in quotes ("web*"): each in a lab of its own
  --plan FILE       a plan: groups, tests, roles, limits (docs/verification.md); or the name of one in the configuration
  --init            writes a plan for these VMs (default: all) to stdout, or to the file that --plan names
  --dry-run         says what would be done
  --point P         VM@P instead of the newest: an id, its first digits, or a time
  --role NAME       a set of tests that fits what the VMs do: ${Object.keys(ROLES).join(", ")}
  --test KIND[:V]   one more test, such as tcp:22 or http:80; repeat. Kinds: ${KINDS.map(({ kind }) => kind).join(", ")}
  --host NAME       where they run (springback hosts); default: QEMU on this machine, nothing needs to be set up
  --parallel N      VMs at once (default 4)
  --memory SIZE     memory of each VM instead of its own
  --timeout T       for each VM (default 30m)
  --junit FILE      the result as JUnit XML, too
  --webhook URL     told the result by POST
  Exit 3 when a VM failed, 4 when there were warnings only.`,
	options: {
		plan: { type: "string" },
		init: { type: "boolean" },
		"dry-run": { type: "boolean" },
		point: { type: "string" },
		role: { type: "string" },
		test: { type: "string", multiple: true },
		host: { type: "string" },
		parallel: { type: "string" },
		memory: { type: "string" },
		timeout: { type: "string" },
		junit: { type: "string" },
		webhook: { type: "string" },
	},
	async run(context) {
		const repository = await openNamed(context);
		try {
			if (flag(context, "init")) return await init(context, repository);
			const plan = await planOf(context, repository);
			if (flag(context, "dry-run")) {
				context.out.result(explanation(plan), explain(plan));
				return EXIT.ok;
			}
			return await carryOut(context, plan, repository);
		} finally {
			await repository.close();
		}
	},
};
export default command;

async function carryOut(context: Context, plan: VerificationPlan, repository: Repository): Promise<number> {
	const options = {
		...{ host: plan.host, repository, verified: () => verifiedPoints(context, repository) },
		event: (event: VerifyEvent) => {
			const line = words(event);
			if (line !== undefined && !context.values.quiet) context.out.say(line);
		},
		command: `springback ${process.argv.slice(2).join(" ")}`,
	};
	return inVerifyWorld(context, options, async (world) => {
		const report = await verify(plan, world);
		const kept = await keepReport(context, report, {
			junit: text(context, "junit"),
			webhook: plan.webhook === null ? undefined : { url: plan.webhook, secretFile: plan.webhookSecretFile ?? null },
		});
		for (const warning of kept.warnings) context.out.say(`warning: ${warning}`);
		context.out.result(document(report, kept), summary(report, kept));
		if (report.result === "cancelled") return EXIT.interrupted;
		return report.result === "failed" ? EXIT.fault : report.result === "warning" ? EXIT.warnings : EXIT.ok;
	});
}

/** A plan to begin with, for the VMs that are named or all. */
async function init(context: Context, repository: Repository): Promise<number> {
	const newest = new Map((await repository.points()).map((point) => [point.vm, point]));
	const wanted = context.positionals.length > 0 ? context.positionals : [...newest.keys()].sort();
	const vms = wanted.map((name) => {
		const point = newest.get(name);
		if (point === undefined) throw new UsageError(`there is no restore point of ${name}: springback points lists VMs`);
		const config = vmConfigFrom(point.config);
		const networks = [...new Set(config?.nics.flatMap(({ network }) => network ?? []) ?? [])];
		return {
			...{ name, guestOs: config?.guestOs ?? null, networks },
			...(config === undefined ? {} : { memoryMiB: config.memoryMiB, cpus: config.cpus }),
		};
	});
	if (vms.length === 0) throw new UsageError("the repository has no restore points: springback backup makes one");
	const content = initialPlan(vms, { kinds: KINDS, roles: ROLES, host: text(context, "host") ?? null });
	const file = text(context, "plan");
	if (file === undefined) {
		context.out.result({ plan: content }, content);
		return EXIT.ok;
	}
	try {
		writeFileSync(file, content, { flag: "wx" });
	} catch (error) {
		if ((error as { code?: string }).code !== "EEXIST") throw error;
		throw new UsageError(`${file} is there already: name another file, or move it away`);
	}
	context.out.result({ plan: content, file }, `${file}: look at it, then: springback verify --plan ${file}`);
	return EXIT.ok;
}

/** What is asked for: a file, or VMs that are named. */
async function planOf(context: Context, repository: Repository): Promise<VerificationPlan> {
	const vms = [...new Set((await repository.points()).map(({ vm }) => vm))];
	const about = { kinds: KINDS, roles: ROLES, vms };
	const file = text(context, "plan");
	let plan: VerificationPlan;
	if (file !== undefined) {
		for (const option of ["point", "role", "test", "memory", "timeout"])
			if (context.values[option] !== undefined)
				throw new UsageError(`--${option} goes with VMs that are named: the plan says it for its own`);
		if (context.positionals.length > 0) throw new UsageError("name either VMs or --plan FILE");
		const path = planFile(context, file);
		plan = parsePlan(readFileSync(path, "utf8"), { ...about, path });
	} else {
		if (context.positionals.length === 0) throw new UsageError("VM is missing: name VMs, or --plan FILE");
		plan = parsePlan(planText(context, context.positionals), { ...about, path: "verify" });
	}
	const parallel = count(context, "parallel");
	if (parallel === 0) throw new UsageError("--parallel 0: at least one VM at a time");
	return {
		...plan,
		host: text(context, "host") ?? plan.host,
		limits: { ...plan.limits, parallel: parallel ?? plan.limits.parallel },
		webhook: text(context, "webhook") ?? plan.webhook,
	};
}

/** A file, or a plan in the configuration by its name. */
function planFile(context: Context, file: string): string {
	if (existsSync(file)) return file;
	const named = join(catalogPlaces(context).plans, `${file}.yaml`);
	if (!file.includes("/") && existsSync(named)) return named;
	throw new UsageError(
		`--plan ${file}: there is no such file, and no plan of that name in ${catalogPlaces(context).plans}`,
	);
}

/** The plan that the options stand for. */
function planText(context: Context, vms: string[]): string {
	const tests = ((context.values.test as string[] | undefined) ?? []).map((test) => {
		const at = test.indexOf(":");
		if (at < 0) return test;
		const value = test.slice(at + 1);
		return { [test.slice(0, at)]: /^\d+$/.test(value) ? Number(value) : value };
	});
	const role = text(context, "role");
	const point = text(context, "point");
	const memory = text(context, "memory") === undefined ? undefined : size(context, "memory", 0);
	const settings = {
		...(role === undefined ? {} : { role }),
		tests: [...(role === undefined ? ["boot"] : []), ...tests],
		...(point === undefined ? {} : { points: { named: point } }),
		...(memory === undefined ? {} : { memory: `${Math.ceil(memory / MIB)}m` }),
		...(text(context, "timeout") === undefined ? {} : { timeout: `${duration(context, "timeout", 0)}ms` }),
	};
	return stringify({ version: 1, vms: Object.fromEntries(vms.map((vm) => [vm, settings])) });
}

function words(event: VerifyEvent): string | undefined {
	switch (event.what) {
		case "started":
			return `${event.vm}: verifying ${event.point.slice(0, 8)} of ${event.time}`;
		case "step":
			return undefined;
		case "test":
			return `${event.vm}: ${event.test.result.padEnd(7)} ${event.test.name}: ${event.test.message}`;
		case "done":
			return `${event.vm}: ${event.result.toUpperCase()}: ${event.summary}`;
	}
}

const seconds = (ms: number | null): string => (ms === null ? "-" : `${(ms / 1000).toFixed(1)} s`);

const row = ({ vm, point, result, fault, timeToServiceMs, tests, summary }: VmReport): string[] => [
	vm,
	point.id.slice(0, 8),
	result,
	fault ?? "",
	seconds(timeToServiceMs),
	`${tests.filter((test) => test.result === "passed").length}/${tests.length}`,
	summary,
];

function summary(report: RunReport, kept: Kept): string {
	return [
		table(["VM", "POINT", "RESULT", "FAULT", "TO SERVICE", "TESTS", ""], report.vms.map(row)),
		...(kept.html === null ? [] : [`report: ${kept.html}`]),
	].join("\n");
}

/** Without pictures, logs and outputs: those are in the report. */
const document = (report: RunReport, kept: Kept): object => ({
	...report,
	vms: report.vms.map(({ screenshots, console, tests, ...vm }) => ({
		...vm,
		tests: tests.map(({ output, ...test }) => test),
		screenshots: screenshots.length,
		console: console.length,
	})),
	report: kept,
});
