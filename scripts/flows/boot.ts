/**
 * The boot flow of `scripts/demo`: a real Debian VM is backed up, boots from its backup, survives the death of the
 * process that serves its disk, and leaves the backup as it was.
 *
 * Runs in a network of its own (scripts/demo makes it). Arguments: image, the same image a day later, directory for
 * everything that is made.
 */
import { createHash } from "node:crypto";
import { mkdirSync, rmSync } from "node:fs";
import { join, relative } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { acceleration } from "../lab/acceleration.js";
import { waitForHttp } from "../lab/http.js";
import { Machine } from "../lab/qemu.js";
import { type BackupReport, diskUrl, type Ready, Springback } from "../lab/springback.js";
import { treeHash } from "../lab/tree-hash.js";
import { runFlow } from "./run.js";
import { bytes, ratio, Story, seconds } from "./story.js";

const vm = "debian";
const session = "first-light";
/** In the private network; nothing of the host can reach it. */
const httpPort = 8080;
const url = `http://127.0.0.1:${httpPort}/`;
/** The guest's own secret: written and synced in the first boot, looked for in the second. */
const secretFile = "/root/written-by-the-guest";
const secretHash = createHash("sha256").update("springback\n".repeat(100_000)).digest("hex");
const bootTimeout = 180_000;
/** Folders of a repository where sessions note that they use a point, and commands what they did. */
const USES = ["holds", "locks", "settings"];

async function main([image, dayLater, directory]: string[]): Promise<void> {
	const story = new Story();
	const places = {
		repository: join(directory, "repository"),
		state: join(directory, "state"),
		machines: join(directory, "vm"),
		console: join(directory, "console.png"),
	};
	for (const path of [places.repository, places.state, places.machines]) rmSync(path, { recursive: true, force: true });
	rmSync(places.console, { force: true });
	const springback = new Springback(places.repository, places.state);
	const mode = await acceleration();
	story.note(
		mode === "kvm" ? "KVM works here and is used" : "no working KVM here: the VM is emulated (TCG), which is slow",
	);

	const first = await story.step("back up the VM's disk", async () => {
		await springback.succeed("init");
		return springback.json<BackupReport>("backup", vm, "--disk", image);
	});
	const before = await treeHash(places.repository, USES);

	const begin = Date.now();
	const publishing = await story.step("publish the restore point over NFS", () => publish(springback));
	const machine = await story.step("power on, with the disk on the NFS export", () =>
		boot(publishing.ready, join(places.machines, "first"), mode),
	);
	try {
		const page = await story.step("wait for its web server", () => answer(machine));
		const untilHttp = (Date.now() - begin) / 1000;
		story.note(
			page
				.replaceAll(/<[^>]*>|\n/g, " ")
				.replaceAll(/ +/g, " ")
				.trim(),
		);
		await story.step("the guest writes a file and syncs it", async () => {
			await machine.agent.ready(60_000);
			await inGuest(machine, `yes springback | head -n 100000 > ${secretFile} && sync ${secretFile} && sync`);
		});
		await machine.screenshot(places.console);

		const pause = await story.step("kill -9 the mount process under the running VM", () =>
			killMountProcess(springback, machine),
		);
		await story.step("pull the VM's plug", () => machine.kill());

		const again = await story.step("continue the session", () => publish(springback));
		const second = await story.step("power on again", () => boot(again.ready, join(places.machines, "second"), mode));
		try {
			await story.step("wait for its web server", () => answer(second));
			await story.step("the file is there, to the last byte", async () => {
				await second.agent.ready(60_000);
				const found = await inGuest(second, `sha256sum < ${secretFile}`);
				if (!found.startsWith(secretHash)) throw new Error(`${secretFile} came back different: ${found.trim()}`);
			});
			await story.step("shut down", () => second.powerOff());
		} finally {
			await second.kill();
		}

		const unchanged = await story.step("the repository is unchanged, and reads back", async () => {
			const after = await treeHash(places.repository, USES);
			if (after.hash !== before.hash) throw new Error("files in the repository changed while its backup was booted");
			await springback.succeed("check", "--read-data");
			return after;
		});
		const next = await story.step("back up the VM a day later, what changed", () =>
			springback.json<BackupReport>("backup", vm, "--disk", dayLater),
		);

		story.table([
			["", "first backup", "a day later"],
			["disk", bytes(sum(first, "size")), bytes(sum(next, "size"))],
			["read from the source", bytes(sum(first, "read")), bytes(sum(next, "read"))],
			["new after zero-skip and dedupe", bytes(sum(first, "new")), bytes(sum(next, "new"))],
			["stored after compression", bytes(sum(first, "stored")), bytes(sum(next, "stored"))],
			["dedupe", ratio(sum(first, "read"), sum(first, "new")), ratio(sum(next, "read"), sum(next, "new"))],
			["compression", ratio(sum(first, "new"), sum(first, "stored")), ratio(sum(next, "new"), sum(next, "stored"))],
			["backup took", seconds(first.seconds), seconds(next.seconds)],
		]);
		const request = publishing.ready.milliseconds;
		story.table([
			["publish, command to ready", seconds(publishing.took)],
			...(request === undefined ? [] : [["publish, request to ready", `${request.toFixed(0)} ms`]]),
			["command to HTTP answer", `${seconds(untilHttp)} (${mode === "kvm" ? "KVM" : "emulated"})`],
			["power-on to HTTP answer", seconds(untilHttp - publishing.took)],
			["guest's pause after kill -9", seconds(pause)],
			["repository", `${unchanged.files} files, ${bytes(unchanged.bytes)}, unchanged by the boots`],
			["console", places.console],
		]);
		process.stdout.write("\n");
		story.note(`look around: scripts/springback points --repo ${shown(places.repository)}`);
	} catch (cause) {
		if (machine.running) await machine.screenshot(places.console).catch(() => {});
		story.note(`the VM's console: ${places.console}; logs: ${shown(places.machines)}, ${shown(places.state)}`);
		throw cause;
	} finally {
		await machine.kill();
	}
}

async function publish(springback: Springback): Promise<{ ready: Ready; took: number }> {
	const begin = Date.now();
	const ready = await springback.publish(vm, "--session", session);
	return { ready, took: (Date.now() - begin) / 1000 };
}

function boot(ready: Ready, directory: string, mode: "kvm" | "tcg"): Promise<Machine> {
	mkdirSync(directory, { recursive: true });
	return Machine.start({
		directory,
		acceleration: mode,
		disks: [{ source: diskUrl(ready) }],
		forwards: [{ host: httpPort, guest: 80 }],
		agent: true,
	});
}

function answer(machine: Machine): Promise<string> {
	return waitForHttp(url, bootTimeout, () => machine.running);
}

async function inGuest(machine: Machine, command: string): Promise<string> {
	const { code, stdout, stderr } = await machine.agent.run(command);
	if (code !== 0) throw new Error(`in the guest: ${command}: ${stderr.trim() || `exit ${code}`}`);
	return stdout;
}

/** Returns the seconds from the kill until a synced write of the guest came through again. */
async function killMountProcess(springback: Springback, machine: Machine): Promise<number> {
	const pid = await springback.mountProcess(session);
	process.kill(pid, "SIGKILL");
	const begin = Date.now();
	await inGuest(machine, "echo still here > /root/after-the-kill && sync");
	const pause = (Date.now() - begin) / 1000;
	// The supervisor brings it back; wait until the new one says so itself.
	for (let tries = 0; tries < 100; tries++) {
		const next = await springback.mountProcess(session).catch(() => pid);
		if (next !== pid) return pause;
		await sleep(100);
	}
	throw new Error("the mount process did not come back");
}

function sum(report: BackupReport, key: "size" | "read" | "new" | "stored"): number {
	return report.disks.reduce((total, disk) => total + disk[key], 0);
}

function shown(path: string): string {
	const short = relative(process.cwd(), path);
	return short.startsWith("..") ? path : short;
}

await runFlow(import.meta.url, main);
