/**
 * Runs a shell script in the tiny guest: a real Linux kernel with its own NFS client, up within seconds under emulation.
 *
 * The script is /run.sh of an initramfs appended to the guest's own. It can call back with `host WORD…`, which waits for
 * a function of the caller: so that a test restarts its server in the middle of a guest's script. The host's loopback
 * is 10.0.2.2.
 */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Acceleration, acceleration } from "./acceleration.js";
import { type CpioFile, cpio } from "./cpio.js";
import { tinyGuest } from "./guests.js";
import { type Disk, Machine } from "./qemu.js";

export interface TinyOptions {
	/** for busybox sh; runs in / with stdout and stderr joined */
	script: string;
	/** more files for the guest's root */
	files?: CpioFile[];
	disks?: Disk[];
	/** from loopback ports of the host to TCP ports of the guest */
	forwards?: { host: number; guest: number }[];
	/** answers `host NAME ARGUMENT…`; the returned line is what `host` prints, a rejection makes `host` fail */
	calls?: Record<string, (...args: string[]) => unknown>;
	/** milliseconds until the guest is killed, default 120 s */
	timeout?: number;
	/** MiB, default 256 */
	memory?: number;
	/** default: what this machine can do */
	acceleration?: Acceleration;
}

export interface TinyResult {
	/** what the script wrote */
	output: string;
	/** the script's exit status; `null` when the guest did not come to its end */
	status: number | null;
	/** the kernel's messages */
	console: string;
	/** from power-on to power-off */
	seconds: number;
}

export async function runTiny(options: TinyOptions): Promise<TinyResult> {
	const guest = tinyGuest();
	const mode = options.acceleration ?? (await acceleration());
	const directory = mkdtempSync(join(tmpdir(), "springback-tiny-"));
	let machine: Machine | undefined;
	try {
		const initrd = join(directory, "initrd");
		const files = [{ name: "run.sh", content: options.script, mode: 0o755 }, ...(options.files ?? [])];
		writeFileSync(initrd, Buffer.concat([readFileSync(guest.initrd), cpio(files)]));
		machine = await Machine.start({
			directory,
			acceleration: mode,
			memory: options.memory ?? 256,
			cpus: 1,
			disks: options.disks,
			forwards: options.forwards ?? [],
			kernel: {
				image: guest.kernel,
				initrd,
				append: "console=ttyS0 loglevel=5 panic=-1 mitigations=off",
			},
			pipeSecondSerial: true,
		});
		const script = listen(machine, options.calls ?? {});
		const ended = await machine.exited(options.timeout ?? 120_000).then(
			() => true,
			() => false,
		);
		const seconds = machine.seconds;
		await machine.kill();
		return { ...script, status: ended ? script.status : null, console: machine.serial, seconds };
	} finally {
		await machine?.kill();
		rmSync(directory, { recursive: true, force: true });
	}
}

/** Collects the second serial port. Lines that begin with byte 1 are the harness' own: a call or the exit status. */
function listen(machine: Machine, calls: NonNullable<TinyOptions["calls"]>) {
	const script = { output: "", status: null as number | null };
	const { stdin, stdout } = machine.process;
	let rest = "";
	stdout?.setEncoding("utf8");
	stdout?.on("data", async (text: string) => {
		const lines = (rest + text).split("\n");
		rest = lines.pop() ?? "";
		for (const line of lines) {
			const mark = line.indexOf("\u0001");
			if (mark < 0) {
				script.output += `${line.replace(/\r$/, "")}\n`;
				continue;
			}
			script.output += line.slice(0, mark);
			const [kind, name, ...args] = line
				.slice(mark + 1)
				.trim()
				.split(" ");
			if (kind === "exit") script.status = Number(name);
			else stdin?.write(`${await answer(calls, name, args)}\n`);
		}
	});
	// A guest that powers off while an answer is on its way is no fault of the test.
	stdin?.on("error", () => {});
	return script;
}

async function answer(calls: NonNullable<TinyOptions["calls"]>, name: string, args: string[]): Promise<string> {
	const call = calls[name];
	if (!call) return `error no such call: ${name}`;
	try {
		return `ok ${String((await call(...args)) ?? "").replaceAll("\n", " ")}`;
	} catch (cause) {
		return `error ${String(cause).replaceAll("\n", " ")}`;
	}
}
