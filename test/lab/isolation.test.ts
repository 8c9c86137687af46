/**
 * What a guest in a lab cannot do: reach this machine, another lab with the same addresses, the production network that
 * this machine is in and routes for, or anything outside; and what is seen of it there on the wire: nothing.
 */
import { spawn } from "node:child_process";
import { rmSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import t from "tap";
import { enterNamespace } from "../../scripts/lab/namespace.js";
import { type LabRequest, openLab } from "../../src/lab/index.js";
import { ask, ownMachine, sh, WireGuest } from "./wire.js";

await enterNamespace(import.meta.url);
const directory = ownMachine();
t.teardown(() => rmSync(directory, { recursive: true, force: true }));

/** This machine is in production's network, has a second one, and routes for both; outside is beyond a router there. */
const HOST = "192.168.7.5";
const HOST_6 = "fd00:7::5";
const SECOND = "10.50.0.1";
const PRODUCTION = "192.168.7.10";
const OUTSIDE = "203.0.113.7";
const GATEWAY = "192.168.7.1";
const ADDRESS = "192.168.7.66";
const PORT = 8080;

sh("ip", "netns", "add", "production");
sh("ip", "link", "add", "prod0", "type", "veth", "peer", "name", "eth0", "netns", "production");
for (const address of [`${HOST}/24`, `${SECOND}/24`, `${HOST_6}/64`])
	sh("ip", "addr", "add", address, "dev", "prod0", ...(address.includes(":") ? ["nodad"] : []));
sh("ip", "link", "set", "prod0", "up");
for (const device of ["lo", "eth0"]) sh("ip", "-n", "production", "link", "set", device, "up");
for (const address of [`${PRODUCTION}/24`, "10.50.0.2/24", `${OUTSIDE}/32`])
	sh("ip", "-n", "production", "addr", "add", address, "dev", "eth0");
sh("ip", "-n", "production", "addr", "add", "fd00:7::10/64", "dev", "eth0", "nodad");
sh("ip", "-n", "production", "route", "add", "default", "via", HOST);
sh("ip", "route", "add", "default", "via", "10.50.0.2");
sh("sh", "-c", "echo 1 >/proc/sys/net/ipv4/ip_forward; echo 1 >/proc/sys/net/ipv6/conf/all/forwarding");

/** Tells of each connection and datagram that it gets. */
const LISTEN = `
require("net").createServer((s) => { console.log("tcp", s.remoteAddress); s.on("error", () => {}); s.end("hello") }).listen(${PORT}, "::", () => console.log("up"));
const u = require("dgram").createSocket({ type: "udp6" }); u.on("message", (m, r) => { console.log("udp", r.address); u.send("hello", r.port, r.address) }); u.bind(${PORT}, () => u.setBroadcast(true));`;

/** Tries each "KIND HOST" of its arguments; prints those that answered. */
const TRY = `
const net = require("net"), dgram = require("dgram");
Promise.all(process.argv.slice(1).map((one) => new Promise((done) => {
	const [kind, host] = one.split(" ");
	const end = (line) => { if (line) console.log(line); done(); };
	setTimeout(end, 2500);
	if (kind === "tcp") {
		const s = net.connect({ host, port: ${PORT} });
		s.once("connect", () => end(one + " answered")); s.once("error", (e) => end(e.code === "ECONNREFUSED" || e.code === "ECONNRESET" ? one + " answered" : ""));
	} else {
		const s = dgram.createSocket(host.includes(":") ? "udp6" : "udp4");
		s.on("error", () => end("")); s.on("message", (m, { address }) => address !== "${ADDRESS}" && end(one + " answered"));
		s.bind(0, () => { if (!host.includes(":")) s.setBroadcast(true); for (let n = 0; n < 3; n++) s.send("x", ${PORT}, host, () => {}); });
	}
}))).then(() => process.exit());`;

const answers = (run: (...command: string[]) => { output: string }, hosts: string[], ...kinds: string[]): string[] => {
	const tries = hosts.flatMap((host) => kinds.map((kind) => `${kind} ${host}`));
	return [...new Set(run(process.execPath, "-e", TRY, ...tries).output.split("\n"))].filter(Boolean);
};

/** Those that answer, asked all at once. */
const pings = (run: (...command: string[]) => { output: string }, hosts: string[]): string[] => {
	const script = 'for host; do (busybox ping -c 1 -W 1 "$host" >/dev/null 2>&1 && echo "$host") & done; wait';
	return run("sh", "-c", script, "sh", ...hosts)
		.output.split("\n")
		.filter(Boolean);
};

const listen = async (command: string[]): Promise<{ heard: string[]; end: () => void }> => {
	const [program, ...args] = [...command, process.execPath, "-e", LISTEN];
	const child = spawn(program, args, { stdio: ["ignore", "pipe", "inherit"] });
	const heard: string[] = [];
	await new Promise<void>((resolve) => {
		child.stdout.setEncoding("utf8").on("data", (text: string) => {
			heard.push(...text.split("\n").filter((line) => line !== "" && line !== "up"));
			if (text.includes("up")) resolve();
		});
	});
	return { heard, end: () => child.kill("SIGKILL") };
};

/** All frames of a device, a line each with MAC addresses. */
const capture = async (device: string, ...before: string[]): Promise<() => Promise<string[]>> => {
	const [program, ...args] = [...before, "tcpdump", "-i", device, "-e", "-n", "-l", "-U", "--immediate-mode"];
	const child = spawn(program, args, { stdio: ["ignore", "pipe", "pipe"] });
	let text = "";
	child.stdout.setEncoding("utf8").on("data", (piece: string) => {
		text += piece;
	});
	await new Promise<void>((resolve, reject) => {
		child.stderr.on("data", (piece) => String(piece).includes("listening on") && resolve());
		child.once("exit", () => reject(new Error(`tcpdump ${device} ended`)));
	});
	return async () => {
		await sleep(300);
		const ended = new Promise((resolve) => child.once("exit", resolve));
		child.removeAllListeners("exit");
		child.once("exit", () => {});
		child.kill("SIGINT");
		await Promise.race([ended, sleep(500)]);
		return text.split("\n").filter(Boolean);
	};
};

const request = (id: string, host: "qemu" | "libvirt", mac: string): LabRequest => ({
	...{ id, directory, host },
	networks: [{ name: "VM Network", gateway: `${GATEWAY}/24` }],
	guests: [{ name: "web", nics: [{ mac, network: "VM Network" }], ports: [{ protocol: "tcp", port: PORT }] }],
});

for (const host of ["qemu", "libvirt"] as const)
	t.test(`a guest on ${host} does not get out`, async (t) => {
		const MAC = "52:54:00:66:66:66";
		const OTHER = "52:54:00:77:77:77";
		const labs = [await openLab(request("aaaaaaaa", host, MAC)), await openLab(request("bbbbbbbb", host, OTHER))];
		const [guest, other] = labs.map((lab, n) => {
			const made = new WireGuest(`web${n}`, [MAC, OTHER][n], lab.networks("web")["VM Network"]);
			made.address(`${ADDRESS}/24`, GATEWAY);
			sh("ip", "-n", made.namespace, "addr", "add", `fd00:7::6${n}/64`, "dev", "eth0", "nodad");
			made.run("busybox", "arping", "-c", "1", "-w", "1", "-I", "eth0", GATEWAY);
			return made;
		});
		await guest.serve(PORT, "one");
		await other.serve(PORT, "two");
		const ways = await Promise.all(
			labs.map(async (lab) => (await lab.endpoint("web", { protocol: "tcp", port: PORT }))!),
		);
		t.same(
			await Promise.all(ways.map((way) => ask(way.host, way.port))),
			[`one for ${GATEWAY}`, `two for ${GATEWAY}`],
			"two labs with the same addresses, each by its own endpoint",
		);

		const here = await listen([]);
		const there = await listen(["ip", "netns", "exec", "production"]);
		const inProduction = (...command: string[]) => ({ output: sh("ip", "netns", "exec", "production", ...command) });
		t.same(
			answers(inProduction, [HOST, SECOND, HOST_6], "tcp", "udp").sort(),
			[HOST, SECOND, HOST_6].flatMap((one) => [`tcp ${one} answered`, `udp ${one} answered`]).sort(),
			"this machine would answer",
		);
		t.same(pings(inProduction, [HOST, HOST_6]).sort(), [HOST, HOST_6], "and to pings");
		sh("ip", "-n", "production", "route", "replace", "198.18.0.0/15", "via", HOST);
		t.same(
			answers(
				inProduction,
				ways.map((way) => way.host),
				"tcp",
				"udp",
			),
			[],
			"nor is a guest reached from there",
		);
		await sleep(200);
		here.heard.length = 0;

		const devices = sh("ip", "-o", "link")
			.split("\n")
			.flatMap((line) => /^\d+: ([^:@]+)/.exec(line)?.[1] ?? [])
			// Of the bridge for libvirt the frames are the guests' own; what it hands to the host is dropped before its protocols.
			.filter((name) => /^(prod0|sblab-)/.test(name));
		t.equal(devices.length, 3);
		const captures = await Promise.all(devices.map((device) => capture(device)));
		const inside = await capture("br0", "ip", "netns", "exec", "sb-lab-aaaaaaaa");

		const testers = ways.map((way) => way.host.replace(/\d+$/, "1"));
		const targets = [
			HOST,
			SECOND,
			PRODUCTION,
			OUTSIDE,
			...testers,
			...ways.map((way) => way.host),
			testers[0].replace(/1$/, "2"),
		];
		const run = guest.run.bind(guest);
		for (const target of [HOST, ...testers])
			t.notMatch(
				run("busybox", "arping", "-c", "1", "-w", "1", "-I", "eth0", target).output,
				/eply from/,
				`ARP ${target}`,
			);
		t.match(
			run("busybox", "arping", "-c", "1", "-w", "1", "-I", "eth0", GATEWAY).output,
			/eply from/,
			"only the gateway",
		);
		// As if they were in the guest's own network, and by way of its gateway.
		for (const way of [[], ["via", GATEWAY]]) {
			for (const target of targets) run("ip", "route", "replace", `${target}/32`, ...way, "dev", "eth0");
			t.same(pings(run, targets), [], `ping ${way.join(" ")}`);
		}
		const broadcast = ["255.255.255.255", "192.168.7.255"];
		t.same(answers(run, [...targets, GATEWAY], "tcp", "udp"), [], "TCP and UDP");
		t.same(answers(run, broadcast, "udp"), [], "broadcast");
		t.same(answers(run, [HOST_6, "fd00:7::10", "fd00:7::61", "ff02::1%eth0"], "tcp", "udp"), [], "IPv6");
		t.same(pings(run, [HOST_6, "fd00:7::10", "fd00:7::61"]), [], "IPv6 ping");
		// Under another's address, which the lab would let pass if it asked for no more.
		run("ip", "addr", "add", `${testers[0]}/32`, "dev", "eth0");
		t.notOk(run("busybox", "ping", "-I", testers[0], "-c", "1", "-W", "1", PRODUCTION).ok, "as the tester");

		const seen = (await Promise.all(captures.map((end) => end()))).flat();
		const strange = [MAC, OTHER, ADDRESS, "fd00:7::6", "192.168.7.255"];
		t.same(
			seen.filter((line) => strange.some((word) => line.includes(word))),
			[],
			"no frame of a guest on any device of this machine",
		);
		const sent = (await inside()).join("\n");
		for (const word of [MAC, OUTSIDE, "255.255.255.255", "fd00:7::", "ff02::1"])
			t.ok(sent.includes(word), `it did try ${word}`);
		t.same([here.heard, there.heard], [[], []], "nobody has heard of it");
		t.notMatch(sh("ip", "neigh"), ADDRESS, "not even its address");

		here.end();
		there.end();
		for (const one of [guest, other]) one.close();
		for (const lab of labs) await lab.close();
	});
