/** Machines on which a lab cannot be had as asked for: one line that says why, and nothing is left. */
import { spawnSync } from "node:child_process";
import { rmSync } from "node:fs";
import t from "tap";
import { enterNamespace } from "../../scripts/lab/namespace.js";
import type { LabRequest } from "../../src/lab/index.js";
import { inventory, ownMachine } from "./wire.js";

await enterNamespace(import.meta.url);
const directory = ownMachine();
t.teardown(() => rmSync(directory, { recursive: true, force: true }));
const room = new URL("../../src/lab/index.js", import.meta.url).href;
const MAC = "52:54:00:00:00:01";
const request: LabRequest = {
	...{ id: "0000003a", directory, host: "qemu" },
	networks: [{ name: "a" }],
	guests: [{ name: "web", nics: [{ mac: MAC, network: "a" }], ports: [{ protocol: "tcp", port: 80 }] }],
};

/** What a process says that opens a lab after these commands, in file systems of its own. */
const open = (setUp: string, more: Partial<LabRequest> = {}, before: string[] = []): string => {
	const code = `const { cleanLabs, openLab } = await import(${JSON.stringify(room)});
		const asked = ${JSON.stringify({ ...request, ...more })};
		await openLab(asked).then(async (lab) => { console.log(lab.mode, JSON.stringify(lab.networks("web")), JSON.stringify(await lab.endpoint("web", asked.guests[0].ports[0])), await lab.reach("web")); await lab.close(); }, (error) => console.log(error.code, error.message));
		console.log(await cleanLabs(asked.directory, () => false));`;
	const command = [
		"sh",
		"-ec",
		`${setUp}\nexec "$@"`,
		"sh",
		...before,
		process.execPath,
		"--input-type=module",
		"-e",
		code,
	];
	// Without the test runner's loaders, which write where somebody else may not.
	const env = { ...process.env, NODE_OPTIONS: "" };
	const { stdout, stderr } = spawnSync("unshare", ["--mount", ...command], { encoding: "utf8", env });
	return stdout + stderr;
};

/** A folder like /usr/sbin with these programs only. */
const only = (...programs: string[]): string =>
	`mkdir /run/programs; for one in ${programs.join(" ")}; do cp -L "$(command -v $one)" /run/programs; done; mount --move /run/programs /usr/sbin 2>/dev/null || mount --bind /run/programs /usr/sbin`;

t.test("programs that are missing", (t) => {
	for (const [kept, missing] of [
		[["ip"], "nft is not installed (package nftables)"],
		[["ip", "nft"], "dnsmasq is not installed (package dnsmasq-base)"],
	] as const) {
		const before = inventory(directory);
		t.equal(open(only(...kept)), `UNSUPPORTED ${missing}\n[]\n`);
		rmSync("/run/programs", { recursive: true });
		t.same(inventory(directory), before);
	}
	t.end();
});

t.test("without privileges", (t) => {
	const own = `${directory}/nobody`;
	// No privileges, but may read this checkout wherever it is.
	const nobody = ["unshare", "--user", "--map-user=1000", "--map-group=1000", "--"];
	const setUp = `mkdir ${own}`;
	t.match(
		open(setUp, { directory: own }, nobody),
		/^user \{"a":"restricted:net=10\.213\.0\.0\/24;host=10\.213\.0\.1;dhcpstart=10\.213\.0\.128;hostfwd=tcp:127\.0\.0\.1:(\d+)-10\.213\.0\.128:80"\} \{"host":"127\.0\.0\.1","port":\1\} undefined\n\[\]\n$/,
	);
	rmSync(own, { recursive: true });
	t.equal(
		open(setUp, { directory: own, mode: "namespace" }, nobody),
		'DENIED a lab in a network namespace needs root: run as root, or use mode "user"\n[]\n',
	);
	rmSync(own, { recursive: true });
	t.equal(
		open(setUp, { directory: own, host: "libvirt" }, nobody),
		"UNSUPPORTED a lab on libvirt needs network namespaces: run as root\n[]\n",
	);
	rmSync(own, { recursive: true });
	t.match(
		open("", {}, ["setpriv", "--bounding-set", "-sys_admin", "--inh-caps", "-sys_admin", "--"]),
		/^DENIED ip netns add.* a lab needs root with CAP_NET_ADMIN and CAP_SYS_ADMIN, or mode "user"\n\[\]\n$/,
	);
	t.end();
});
