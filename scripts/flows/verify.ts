/**
 * The verify flow of `scripts/demo`: three real VMs are backed up, and verified from their newest restore points in labs
 * without a way out: first one after the other, then all at once. The evidence is looked at: report, signature.
 *
 * Runs in a network of its own (scripts/demo makes it). Arguments: directory for everything that is made,
 * images of the web VM, of the appliance and of the database VM. Without the last it is a short form, for tests: two VMs,
 * at once only, and hardly watched once they serve.
 */
import { mkdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join, relative } from "node:path";
import { parseDocument } from "yaml";
import type { RunReport, VmReport } from "../../src/verify/index.js";
import { acceleration } from "../lab/acceleration.js";
import { projectDirectory } from "../lab/guests.js";
import { type BackupReport, Springback } from "../lab/springback.js";
import { runFlow } from "./run.js";
import { bytes, Story, seconds } from "./story.js";
import { demoVms, domainXml } from "./verify-vms.js";

/** What `verify --json` prints. */
type Run = RunReport & { report: { html: string | null } };

/** in words, and how many */
const ALL_AT_ONCE = ["all at once", 3] as const;

async function main([directory, web, appliance, database]: string[]): Promise<void> {
	const story = new Story();
	const made = join(directory, "verify");
	rmSync(made, { recursive: true, force: true });
	mkdirSync(made, { recursive: true });
	const repository = join(made, "repository");
	const springback = new Springback(repository, join(made, "state"), asWhoStarted());
	const mode = await acceleration();
	story.note(
		mode === "kvm" ? "KVM works here and is used" : "no working KVM here: VMs are emulated (TCG), which is slow",
	);
	const vms = demoVms(web, appliance, database);
	const backups = await story.step(`back up ${vms.length} VMs`, async () => {
		await springback.succeed("init");
		const reports: BackupReport[] = [];
		for (const vm of vms) {
			const config = join(made, `${vm.name}.xml`);
			writeFileSync(config, domainXml(vm));
			reports.push(await springback.json("backup", vm.name, "--disk", vm.image, "--config", config));
		}
		return reports;
	});
	const plan = join(made, "three-vms.yaml");
	await story.step("what the plan would do", async () => {
		writeFileSync(plan, planFor(vms.map(({ name }) => name)));
		await springback.succeed("verify", "--plan", plan, "--dry-run");
	});
	const runs: { way: string; run: Run }[] = [];
	for (const [way, parallel] of database === undefined
		? [ALL_AT_ONCE]
		: ([["one after the other", 1], ALL_AT_ONCE] as const))
		runs.push({
			way,
			run: await story.step(`verify them ${way}`, () =>
				springback.json<Run>("verify", "--plan", plan, "--parallel", String(parallel), "--quiet"),
			),
		});
	const reports = runs.flatMap(({ run }) => run.vms);
	for (const vm of reports) mustBeSound(vm);

	await story.step("the restore points are as they were", async () => {
		for (const { name, identityBefore, identityAfter } of reports.flatMap(({ disks }) => disks))
			if (identityBefore !== identityAfter) throw new Error(`${name} was ${identityBefore}, is ${identityAfter}`);
		await springback.succeed("check");
	});
	await story.step("the reports are as they were signed", () => springback.succeed("report", "verify"));

	const { run: last } = runs.at(-1)!;
	const ofVm = (name: string, { vms }: Run) => vms.find(({ vm }) => vm === name)!;
	story.table([
		["VM", "backup", "read to boot", "tests", ...runs.map(({ way }) => `serves, ${way}`)],
		...last.vms.map(({ vm, readToBoot, tests }) => [
			vm,
			bytes(sizeOf(backups, vm)),
			readToBoot === null ? "-" : bytes(readToBoot),
			`${tests.length} passed`,
			...runs.map(({ run }) => serviceOf(ofVm(vm, run))),
		]),
	]);
	const times = runs.map(({ run }) => took(run));
	story.table([
		...runs.map(({ way }, n) => [way, seconds(times[n])]),
		...(runs.length < 2
			? []
			: [["faster by", `${(times[0] / times[1]).toFixed(2)} times (${mode === "kvm" ? "KVM" : "emulated"})`]]),
	]);
	const shown = await springback.succeed("report", "list");
	process.stdout.write(`\n${shown.stdout.replaceAll(/^/gm, "    ").trimEnd()}\n\n`);
	const page = last.report.html;
	if (page === null || statSync(page).size === 0) throw new Error("there is no page with the evidence");
	story.note(`the page with the evidence, for a browser: ${page}`);
	story.note(`the plan: ${near(plan)}`);
}

/**
 * Who only appears to be root in here cannot make namespaces that have names, which labs of root are. As somebody with a
 * number of his own he gets what he would get outside: labs of QEMU's own networks, without a way out.
 */
function asWhoStarted(): string[] {
	const root = /^\s*0\s+0\s+4294967295/.test(readFileSync("/proc/self/uid_map", "utf8"));
	return root ? [] : ["unshare", "--user", "--map-user=1000", "--map-group=1000", "--"];
}

/** The demo's plan; its short form has no database. */
function planFor(names: string[]): string {
	const text = readFileSync(join(projectDirectory, "scripts/flows/verify-plan.yaml"), "utf8");
	if (names.includes("database")) return text;
	const plan = parseDocument(text.replaceAll(/\b30 ?s\b/g, "1s"));
	plan.deleteIn(["vms", "database"]);
	return String(plan);
}

function mustBeSound(vm: VmReport): void {
	if (vm.result !== "passed") throw new Error(`${vm.vm}: ${vm.result}: ${vm.summary}`);
}

const serviceOf = ({ timeToServiceMs }: VmReport): string =>
	timeToServiceMs === null ? "-" : seconds(timeToServiceMs / 1000);

function sizeOf(backups: BackupReport[], name: string): number {
	return backups.find(({ vm }) => vm === name)!.disks.reduce((sum, { read }) => sum + read, 0);
}

/** Seconds of a run, without the start of the process. */
function took({ started, ended }: Run): number {
	return (Date.parse(ended) - Date.parse(started)) / 1000;
}

function near(path: string): string {
	const short = relative(process.cwd(), path);
	return short.startsWith("..") ? path : short;
}

await runFlow(import.meta.url, main);
