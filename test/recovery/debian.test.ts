/**
 * A real guest with its agent: recovered with signs of life and a service, it writes like a database while its storage
 * moves home and the mount process dies, and goes on when the server has stopped.
 */
import { existsSync, readdirSync, writeFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import t from "tap";
import { debianImage } from "../../scripts/lab/guests.js";
import { enterNamespace } from "../../scripts/lab/namespace.js";
import { type Migrated, RecoveryLab, type Report } from "./lab.js";

const image = debianImage();
await enterNamespace(import.meta.url);

const lab = new RecoveryLab();
t.teardown(() => lab.close());
const id = "bbbbbbbb-1111-2222-3333-444444444444";

/** Each line is on the disk before the next; the sum at its end tells a torn one. */
const WRITER = `n=0; while [ ! -e /root/stop ]; do n=$((n + 1)); echo "$n $(echo $n | md5sum)" >>/root/journal || echo "$n failed" >>/root/failed; sync /root/journal; done`;

const guest = async (script: string): Promise<string> => {
	const { code, stdout, stderr } = await lab.host.run(id, "/bin/sh", ["-c", script]);
	if (code !== 0) throw new Error(`${script}: exit ${code}: ${stderr}`);
	return stdout.trim();
};

t.test("from a restore point to local storage, while it works", { timeout: 500_000 }, async (t) => {
	await lab.prepare(9);
	writeFileSync(
		lab.path("deb.xml"),
		`<domain type='kvm'><name>deb</name><uuid>${id}</uuid><memory unit='MiB'>384</memory><vcpu>1</vcpu>
		<devices><disk type='file'><source file='/x'/><target dev='vda' bus='virtio'/></disk>
		<interface type='network'><mac address='52:54:00:00:00:01'/><source network='lan'/><model type='virtio'/></interface>
		</devices></domain>`,
	);
	await lab.json(["backup", "deb", "--disk", image, "--config", lab.path("deb.xml")]);
	const run = await lab.cli([
		...["recover", "deb", "--host", "lab", "--original-gone", "--network", "lan=user", "--wait", "4m", "--json"],
		...["--service", "systemctl is-active --quiet nginx"],
	]);
	t.equal(run.code, 0, run.stderr);
	const report = JSON.parse(run.stdout) as Report & { addresses: string[] };
	const { powerOn, signOfLife, service } = report.times;
	t.ok(powerOn! < signOfLife! && signOfLife! <= service!);
	t.comment(`from the command to power-on ${powerOn} s, sign of life ${signOfLife} s, service ${service} s`);
	t.match(report.addresses.join(" "), /10\.0\.2\.15/);
	t.match(await guest("cat /sys/class/dmi/id/product_uuid"), new RegExp(id, "i"), "the identity is kept");

	await guest(`(${WRITER}) >/dev/null 2>&1 & echo started`);
	const migrating = lab.cli(["migrate", report.session, "--to", lab.path("storage"), "--json"]);
	while (readdirSync(lab.path("storage")).length === 0) await sleep(50);
	await sleep(500);
	await lab.killMountd(report.session);
	const migrated = await migrating;
	t.equal(migrated.code, 0, migrated.stderr);
	const { disks, seconds } = JSON.parse(migrated.stdout) as Migrated;
	t.match(disks, [{ verified: true, different: 0 }]);
	t.comment(`moved in ${seconds} s, paused for ${disks[0].pausedMs} ms`);
	t.match(await lab.json(["finish", report.session]), { outcome: "removed", moved: true });
	for (let waited = 0; existsSync(lab.path("state/mountd-127.0.0.1.sock")) && waited < 100; waited++) await sleep(100);
	t.notOk(existsSync(lab.path("state/mountd-127.0.0.1.sock")), "our server has stopped");

	const before = Number(await guest("wc -l </root/journal"));
	await sleep(1_000);
	const after = Number(await guest("touch /root/stop; sleep 1; wc -l </root/journal"));
	t.ok(after > before, `it writes on: ${before} lines, then ${after}`);
	t.equal(await guest("cat /root/failed 2>/dev/null || echo none"), "none");
	t.equal(await guest("dmesg | grep -ciE 'i/o error|remount.*read-only' || true"), "0");
	const wrong = `n=0; while read -r i sum rest; do n=$((n + 1)); [ "$i $sum" = "$n $(echo $n | md5sum | cut -d' ' -f1)" ] || echo "line $n: $i"; done </root/journal`;
	t.equal(
		await guest(
			`sed -n 1,50p /root/journal >/tmp/j; tail -n 50 /root/journal >>/tmp/j; sort -n -u /root/journal | wc -l`,
		),
		String(after),
	);
	t.equal(await guest(`sed -i '101,$d' /root/journal; ${wrong}`), "", "in order, and none torn");
});
