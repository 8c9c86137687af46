/**
 * The kvm flow of `scripts/demo`: a VM that writes like a database is backed up three times while it writes, destroyed with
 * its disk, recovered at once from its restore points, and moved to local storage while it writes. Its data is proven at
 * each station.
 *
 * Runs in namespaces of its own (scripts/demo makes them). Arguments: image, anything, directory for everything that is
 * made, type of the host.
 */
import { existsSync, mkdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { type BackupReport, Springback } from "../lab/springback.js";
import { ID, NAME, startHost } from "./kvm-hosts.js";
import { runFlow } from "./run.js";
import { bytes, Story, seconds } from "./story.js";

const SERVICE = "systemctl is-active --quiet nginx";
const BOOT_MS = 300_000;

/** Each order is on the disk before the next; the sum tells a torn one. Goes on where an earlier boot stopped. */
const WRITER = `#!/bin/sh
n=$(tail -n 1 /root/orders 2>/dev/null | cut -d' ' -f1)
n=\${n:-0}
while :; do
	n=$((n + 1))
	echo "$n $(echo "order $n" | md5sum | cut -d' ' -f1)" >>/root/orders || echo "$n" >>/root/failed
	sync /root/orders
done
`;
/** Prints the number of orders when all are there, in order and whole. */
const CHECK = `awk '{ if ($1 != NR || length($2) != 32) { print "order " NR " is wrong: " $0; bad = 1; exit 1 } } END { if (!bad) print NR }' /root/orders`;

interface Recovered {
	session: string;
	id: string;
	times: { powerOn: number; signOfLife: number; service: number };
}

interface Migrated {
	verified: boolean;
	disks: { compared: number; pausedMs: number; copySeconds: number }[];
}

async function main([image, , directory, type]: string[]): Promise<void> {
	const story = new Story();
	const made = join(directory, "kvm");
	rmSync(made, { recursive: true, force: true });
	mkdirSync(made, { recursive: true, mode: 0o755 });
	const place = await startHost(type, made);
	const host = place.driver;
	const [repository, state, storage] = ["repository", "state", "storage"].map((name) => join(place.work, name));
	for (const folder of [repository, state, storage]) mkdirSync(folder);
	const springback = new Springback(repository, state);
	const guest = async (id: string, script: string): Promise<string> => {
		const { code, stdout, stderr } = await host.run(id, "/bin/sh", ["-c", script], 60_000);
		if (code !== 0) throw new Error(`in the guest: ${script}: ${stderr.trim() || stdout.trim()}`);
		return stdout.trim();
	};
	const orders = async (id: string): Promise<number> => {
		const said = await guest(id, CHECK);
		if (!/^\d+$/.test(said)) throw new Error(said);
		return Number(said);
	};

	await story.step(`a ${place.type} VM on local storage, and its host`, async () => {
		place.define(image);
		await springback.succeed("init");
		await springback.succeed("hosts", "add", "here", place.type, place.uri);
		await host.power(ID, "on");
	});
	await story.step("it takes orders", async () => {
		for (const end = Date.now() + BOOT_MS; !(await host.heartbeat(ID)); await sleep(500))
			if (Date.now() > end) throw new Error("the guest does not come up");
		await guest(ID, `cat >/root/shop <<'END'\n${WRITER}END\nchmod +x /root/shop; setsid /root/shop >/dev/null 2>&1 &`);
		await guest(ID, "until [ -s /root/orders ]; do sleep 0.2; done");
	});
	const backups: { report: BackupReport; orders: number }[] = [];
	for (const what of ["full", "increment", "increment"]) {
		await sleep(3_000);
		const taken = Number(await guest(ID, "wc -l </root/orders"));
		const report = await story.step(`backup while it writes (${what}, ${taken} orders)`, () =>
			springback.json<BackupReport>("backup", NAME, "--host", "here"),
		);
		backups.push({ report, orders: taken });
	}
	await story.step("the VM and its disk are destroyed", async () => {
		await host.power(ID, "off");
		place.destroy();
	});

	const recover = (point: string) =>
		springback.json<Recovered>(
			...["recover", `${NAME}@${point}`, "--host", "here", "--original-gone", "--service", SERVICE, "--quiet"],
		);
	const proven: string[] = [];
	let last: Recovered | undefined;
	for (const [index, { report, orders: least }] of backups.entries()) {
		const ordinal = ["first", "second", "third"][index];
		last = await story.step(`recover the ${ordinal} restore point`, () => recover(report.point));
		const { id, session } = last;
		const found = await story.step("its orders are whole and in order", () => orders(id));
		if (found < least) throw new Error(`${found} orders, but ${least} were there before the backup`);
		proven.push(`${found} (${least} before)`);
		if (index < backups.length - 1)
			await story.step("power it off, and discard that recovery", async () => {
				await host.power(id, "off");
				await springback.succeed("finish", session, "--discard", "--confirm", session);
			});
	}
	const { id, session, times } = last!;
	await guest(id, "setsid /root/shop >/dev/null 2>&1 &");
	const moved = await story.step("migrate to local storage, while it takes orders", () =>
		springback.json<Migrated>("migrate", session, "--to", storage, "--quiet"),
	);
	if (!moved.verified) throw new Error("the disk is not proven to be the same in its new place");
	await story.step("finish: the session is freed, our server stops", async () => {
		await springback.succeed("finish", session);
		for (const end = Date.now() + 30_000; existsSync(join(state, "mountd-127.0.0.1.sock")); await sleep(100))
			if (Date.now() > end) throw new Error("the server does not stop");
		const disks = place.disks();
		if (!disks.includes(storage) || disks.includes("nbd")) throw new Error(`not on ${storage}: ${disks}`);
	});
	const end = await story.step("it takes orders, and none was lost", async () => {
		const before = Number(await guest(id, "wc -l </root/orders"));
		await sleep(3_000);
		await guest(id, "pkill -f /root/shop; [ ! -e /root/failed ]");
		const after = await orders(id);
		if (after <= before) throw new Error("no new orders");
		return after;
	});
	await host.power(id, "off");
	const [disk] = moved.disks;
	story.table([
		["backup", "read", "new", "took"],
		...backups.map(({ report }, n) => [
			["full", "increment", "increment"][n],
			bytes(report.disks.reduce((sum, one) => sum + one.read, 0)),
			bytes(report.disks.reduce((sum, one) => sum + one.new, 0)),
			seconds(report.seconds),
		]),
	]);
	story.table([
		["orders in each restore point", proven.join(", ")],
		["recover: command to power-on", seconds(times.powerOn)],
		["recover: command to sign of life", seconds(times.signOfLife)],
		["recover: command to web server", seconds(times.service)],
		["migration: copied in", seconds(disk.copySeconds)],
		["migration: guest stood still for", `${disk.pausedMs} ms`],
		["migration: compared, the same", bytes(disk.compared)],
		["orders at the end", String(end)],
	]);
}

await runFlow(import.meta.url, main);
