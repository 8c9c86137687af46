/** What is left of a lab whose process was killed, and that the next run takes away all of it and nothing else. */
import { spawn } from "node:child_process";
import { rmSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import t from "tap";
import { enterNamespace } from "../../scripts/lab/namespace.js";
import { cleanLabs, type LabRequest, openLab } from "../../src/lab/index.js";
import { eventually, inventory, ownMachine, sh } from "./wire.js";

await enterNamespace(import.meta.url);
const directory = ownMachine();
t.teardown(() => rmSync(directory, { recursive: true, force: true }));
const room = new URL("../../src/lab/index.js", import.meta.url).href;

const request = (id: string, host: "qemu" | "libvirt", mac = "52:54:00:00:00:01"): LabRequest => ({
	...{ id, directory, host },
	networks: [{ name: "a" }, { name: "b", gateway: "192.168.7.1/24" }],
	guests: [{ name: "web", nics: [{ mac, network: "a" }], addresses: { [mac]: "10.1.2.3" }, ports: [] }],
});

/** A process that opens a lab, and is killed after so many ms; `undefined`: when the lab is open. */
const killed = async (one: LabRequest, ms?: number): Promise<void> => {
	const code = `const { openLab } = await import(${JSON.stringify(room)});
		const lab = await openLab(${JSON.stringify(one)}); await lab.reach("web"); console.log("open"); setInterval(() => {}, 1000);`;
	const child = spawn(process.execPath, ["--input-type=module", "-e", code], { stdio: ["ignore", "pipe", "inherit"] });
	const exit = new Promise((resolve) => child.once("exit", resolve));
	const open = new Promise((resolve) => child.stdout.once("data", resolve));
	await (ms === undefined ? Promise.race([open, exit]) : sleep(ms));
	child.kill("SIGKILL");
	await exit;
};

/** Programs that a killed process had started end by themselves. */
const settled = (): Promise<true> =>
	eventually(
		async () => !/^(ip|nft|nsenter)$/m.test(sh("sh", "-c", "cat /proc/[0-9]*/comm 2>/dev/null; true")) || undefined,
	);

for (const host of ["qemu", "libvirt"] as const)
	t.test(`killed with a lab for ${host} open`, async (t) => {
		const living = await openLab(request("0000000a", host));
		const before = inventory(directory);
		await killed(request("0000000b", host));
		const left = inventory(directory);
		t.equal(left.namespaces.length, before.namespaces.length + 1);
		t.equal(left.links.length, before.links.length + (host === "qemu" ? 1 : 5));
		t.equal(left.tables.length, before.tables.length + (host === "qemu" ? 0 : 1));
		t.equal(left.processes.length, before.processes.length + 1);
		t.ok(left.routes.length > before.routes.length);
		t.ok(left.files.length > before.files.length);

		t.same(await cleanLabs(directory, (id) => id === "0000000b"), [], "one that lives stays");
		t.same(inventory(directory), left);
		const lines = await cleanLabs(directory, () => false);
		t.equal(lines.length, 1);
		t.match(lines[0], /^lab 0000000b of a run that ended: taken away: .*1 processes, a network namespace.*, its note$/);
		t.same(inventory(directory), before, "another process's lab is not touched, whatever the caller thinks");
		t.same(await cleanLabs(directory, () => false), []);
		await living.close();
	});

t.test("found without its note, by a run with another directory", async (t) => {
	const before = inventory(directory);
	await killed(request("0000000c", "libvirt"));
	rmSync(`${directory}/lab-0000000c.json`);
	const other = `${directory}/other`;
	t.match(await cleanLabs(other, () => false), [
		/^lab 0000000c of a run that ended: taken away: 5 network devices, packet rules, 1 processes, a network namespace/,
	]);
	rmSync(`${directory}/lab-0000000c`, { recursive: true });
	t.same(inventory(directory), before);
});

t.test("killed at any moment while it is made", async (t) => {
	const before = inventory(directory);
	let partial = 0;
	for (let ms = 60; ms <= 460; ms += 40) {
		await killed(request("0000000d", ms % 80 === 20 ? "libvirt" : "qemu"), ms);
		await settled();
		const { links, namespaces } = inventory(directory);
		if (namespaces.length > 0 && links.length < 3) partial++;
		await cleanLabs(directory, () => false);
		t.same(inventory(directory), before, `after ${ms} ms`);
	}
	t.comment(`${partial} times in the middle`);
});

t.test("many at once never share a subnet", async (t) => {
	const before = inventory(directory);
	const code = (id: string) => `const { openLab } = await import(${JSON.stringify(room)});
		const lab = await openLab(${JSON.stringify(request(id, "qemu"))}); console.log(await lab.reach("web")); process.stdin.once("data", async () => { await lab.close(); process.exit() });`;
	// The same place in the pool is tried first by all.
	const children = ["00000200", "00000400", "00000600"].map((id) =>
		spawn(process.execPath, ["--input-type=module", "-e", code(id)], { stdio: ["pipe", "pipe", "inherit"] }),
	);
	const ways = await Promise.all(
		children.map(
			(child) => new Promise<string>((resolve) => child.stdout.once("data", (text) => resolve(String(text).trim()))),
		),
	);
	t.same(ways.map((way) => way.replace(/\d+$/, "")).sort(), ["198.18.0.", "198.18.1.", "198.18.2."]);
	await Promise.all(
		children.map((child) => {
			child.stdin.write("end");
			return new Promise((resolve) => child.once("exit", resolve));
		}),
	);
	t.same(inventory(directory), before);
});
