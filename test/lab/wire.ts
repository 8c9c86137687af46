/**
 * For tests of labs: a machine of our own (network, processes, /run), and guests that are namespaces with a card on a
 * lab's bridge, as a tap device of QEMU would be.
 */
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { connect } from "node:net";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

export const sh = (program: string, ...args: string[]): string => {
	const { status, stdout, stderr, error } = spawnSync(program, args, { encoding: "utf8", timeout: 30_000 });
	if (status !== 0) throw new Error(`${program} ${args.join(" ")}: ${error?.message ?? stderr.trim()}`);
	return stdout;
};

/** After `enterNamespace`: what labs make below /run is nobody else's. A folder for their notes. */
export const ownMachine = (): string => {
	sh("mount", "-t", "tmpfs", "tmpfs", "/run");
	mkdirSync("/run/netns");
	return mkdtempSync("/tmp/sb-lab-test-");
};

/** Everything of this machine that a lab could leave. */
export const inventory = (folder: string) => ({
	links: sh("ip", "-o", "link")
		.split("\n")
		.map((line) => line.split(":")[1]?.trim() ?? "")
		.filter((name) => name !== ""),
	namespaces: sh("ip", "netns", "list").split("\n").filter(Boolean),
	routes: sh("ip", "route", "show", "table", "all")
		.split("\n")
		.filter((line) => line.includes("198.1")),
	tables: sh("nft", "list", "tables").split("\n").filter(Boolean),
	processes: processes(/^(dnsmasq|qemu.*)$/),
	files: sh("sh", "-c", `cd ${folder} && find . -mindepth 1; find /run -name 'sb-lab-*'`).split("\n").filter(Boolean),
});

const processes = (name: RegExp): string[] =>
	readdirSync("/proc")
		.filter((entry) => /^\d+$/.test(entry))
		.map((pid) => {
			try {
				return readFileSync(`/proc/${pid}/comm`, "utf8").trim();
			} catch {
				return "";
			}
		})
		.filter((comm) => name.test(comm));

export class WireGuest {
	readonly namespace: string;
	readonly #processes: ChildProcess[] = [];

	/** @param network "lab:NAMESPACE/BRIDGE" or "bridge:NAME" */
	constructor(
		readonly name: string,
		readonly mac: string,
		network: string,
	) {
		const port = `v${createHash("sha256").update(name).digest("hex").slice(0, 8)}`;
		this.namespace = `guest-${name}`;
		sh("ip", "netns", "add", this.namespace);
		const [, namespace, bridge] = /^lab:(.+)\/(.+)$/.exec(network) ?? [];
		const place = namespace === undefined ? ["netns", String(process.pid)] : ["netns", namespace];
		const card = ["link", "add", "eth0", "address", mac, "type", "veth", "peer", "name", port, ...place];
		sh("ip", "-n", this.namespace, ...card);
		const master = bridge ?? network.replace(/^bridge:/, "");
		sh("ip", ...(namespace === undefined ? [] : ["-n", namespace]), "link", "set", port, "master", master, "up");
		for (const device of ["lo", "eth0"]) sh("ip", "-n", this.namespace, "link", "set", device, "up");
	}

	run(...command: string[]): { ok: boolean; output: string } {
		const { status, stdout, stderr } = spawnSync("ip", ["netns", "exec", this.namespace, ...command], {
			encoding: "utf8",
			timeout: 30_000,
		});
		return { ok: status === 0, output: stdout + stderr };
	}

	address(address: string, gateway?: string): void {
		sh("ip", "-n", this.namespace, "addr", "add", address, "dev", "eth0");
		if (gateway !== undefined) sh("ip", "-n", this.namespace, "route", "add", "default", "via", gateway);
	}

	/** Asks by DHCP and takes what it gets. */
	dhcp(): { address: string; router: string; dns: string } {
		const script = join(mkdtempSync("/tmp/sb-dhcp-"), "script");
		sh(
			"sh",
			"-c",
			`printf '#!/bin/sh\n[ "$1" = bound ] || exit 0\nip addr add $ip/$mask dev eth0; ip route add default via $router\necho "got $ip $router $dns"\n' >${script}; chmod 755 ${script}`,
		);
		const { output } = this.run(
			"busybox",
			"udhcpc",
			"-i",
			"eth0",
			"-n",
			"-q",
			"-f",
			"-t",
			"5",
			"-T",
			"1",
			"-s",
			script,
		);
		rmSync(join(script, ".."), { recursive: true });
		const [, address, router, dns] = /^got (\S+) (\S+) (\S+)/m.exec(output) ?? [];
		if (address === undefined) throw new Error(`${this.name}: no lease: ${output}`);
		return { address, router, dns };
	}

	/** Answers `text` to every connection, and to every datagram. */
	async serve(port: number, text: string): Promise<void> {
		const code = `require("net").createServer((s) => { s.on("error", () => {}); s.end(${JSON.stringify(text)} + " for " + s.remoteAddress) }).listen(${port}, "0.0.0.0", () => console.log("up"));
			const u = require("dgram").createSocket("udp4"); u.on("message", (m, r) => u.send(${JSON.stringify(text)}, r.port, r.address)); u.bind(${port});`;
		await this.start(process.execPath, ["-e", code], /up/);
	}

	/** A program that runs until `close`. Resolves when it has said what is waited for. */
	async start(program: string, args: string[], ready: RegExp): Promise<ChildProcess> {
		const child = spawn("ip", ["netns", "exec", this.namespace, program, ...args], {
			stdio: ["pipe", "pipe", "inherit"],
		});
		this.#processes.push(child);
		await new Promise<void>((resolve, reject) => {
			let said = "";
			child.stdout?.on("data", (piece) => {
				said += piece;
				if (ready.test(said)) resolve();
			});
			child.once("exit", (code) => reject(new Error(`${program} ended with ${code}: ${said}`)));
		});
		return child;
	}

	close(): void {
		for (const child of this.#processes) child.kill("SIGKILL");
		sh("ip", "netns", "del", this.namespace);
	}
}

/** All that a TCP server says; rejects after `ms`. */
export const ask = (host: string, port: number, ms = 5000): Promise<string> =>
	new Promise((resolve, reject) => {
		const socket = connect({ host, port, timeout: ms });
		let said = "";
		socket.on("data", (piece) => {
			said += piece;
		});
		socket.once("end", () => resolve(said));
		socket.once("error", reject);
		socket.once("timeout", () => {
			socket.destroy();
			reject(new Error(`${host}:${port} says nothing`));
		});
	});

/** The value, once it is there. */
export const eventually = async <T>(what: () => Promise<T | undefined>, ms = 10_000): Promise<T> => {
	for (const end = Date.now() + ms; ; await sleep(100)) {
		const value = await what();
		if (value !== undefined) return value;
		if (Date.now() > end) throw new Error("not within the time");
	}
};

export const logOf = (folder: string, id: string): string =>
	readFileSync(join(folder, `lab-${id}`, "dnsmasq.log"), "utf8");
