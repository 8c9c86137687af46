/**
 * The verify flow of `scripts/demo`: three real VMs are backed up, and verified from their newest restore points in labs
 * without a way out: first one after the other, then all at once. The evidence is looked at: report, signature.
 *
 * Runs in a network of its own (scripts/demo makes it). Arguments: directory for everything that is made,
 * images of the web VM, of the appliance and of the database VM. Without the last it is a short form, for tests: two VMs,
 * which are hardly watched once they serve.
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
	const verify = (parallel: number) =>
		springback.json<Run>("verify", "--plan", plan, "--parallel", String(parallel), "--quiet");
	const serial = await story.step("verify them one after the other", () => verify(1));
	const parallel = await story.step("verify them all at once", () => verify(vms.length));
	for (const { vms } of [serial, parallel]) for (const vm of vms) mustBeSound(vm);

	await story.step("the restore points are as they were", async () => {
		for (const { vms } of [serial, parallel])
			for (const { disks } of vms)
				for (const { name, identityBefore, identityAfter } of disks)
					if (identityBefore !== identityAfter) throw new Error(`${name} was ${identityBefore}, is ${identityAfter}`);
		await springback.succeed("check");
	});
	await story.step("the reports are as they were signed", () => springback.succeed("report", "verify"));

	story.table([
		["VM", "backup", "read to boot", "serves after", "in parallel", "tests", "result"],
		...parallel.vms.map((vm) => [
			vm.vm,
			bytes(sizeOf(backups, vm.vm)),
			vm.readToBoot === null ? "-" : bytes(vm.readToBoot),
			serviceOf(serial.vms.find((other) => other.vm === vm.vm)!),
			serviceOf(vm),
			String(vm.tests.length),
			vm.result,
		]),
	]);
	const [slow, fast] = [serial, parallel].map(took);
	story.table([
		["one after the other", seconds(slow)],
		["all at once", seconds(fast)],
		["faster by", `${(slow / fast).toFixed(2)} times (${mode === "kvm" ? "KVM" : "emulated"})`],
	]);
	const shown = await springback.succeed("report", "list");
	process.stdout.write(`\n${shown.stdout.replaceAll(/^/gm, "    ").trimEnd()}\n\n`);
	const page = parallel.report.html;
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
