/**
 * libvirt, spoken to through `virsh`, which knows every transport, every version of the protocol, and how to log in.
 * One process for each call, arguments as an array, no shell.
 */
import { spawn } from "node:child_process";
import { causeOf, type HypervisorCode, HypervisorError } from "../errors.js";

const CALL_MS = 60_000;
/** bytes; the definition of a VM is far smaller */
const OUTPUT = 32 * 1024 * 1024;

export interface CallOptions {
	/** ms until it is given up; libvirt may still do it */
	ms?: number;
}

/** What libvirt says, and what it means to us; the first that matches. */
const MEANINGS: readonly (readonly [RegExp, HypervisorCode])[] = [
	[/authentication|permission denied|access denied|operation forbidden|polkit|not authorized/i, "DENIED"],
	[/failed to connect to the hypervisor|cannot recv data|end of file while reading/i, "UNREACHABLE"],
	[/failed to get domain|domain not found|no domain with matching/i, "NOT_FOUND"],
	[/guest agent (is )?not|agent is not|agent .*(not responding|unresponsive)|not respond.*agent/i, "NO_AGENT"],
	[/cannot acquire state change lock|another job|job is active|already (has|in) an? ?active/i, "BUSY"],
	[/no space left/i, "NO_SPACE"],
	[/domain is not running|inactive domain|already (active|running)/i, "STATE"],
];

export class Virsh {
	constructor(
		/** as libvirt understands it */
		readonly uri: string,
	) {}

	/** What the call prints. Rejects with HypervisorError and libvirt's own words. */
	async call(args: string[], options: CallOptions = {}): Promise<string> {
		return (await this.bytes(args, options)).toString("utf8");
	}

	bytes(args: string[], { ms = CALL_MS }: CallOptions = {}): Promise<Buffer> {
		return new Promise((resolve, reject) => {
			const child = spawn("virsh", ["-q", "-c", this.uri, ...args], {
				stdio: ["ignore", "pipe", "pipe"],
				env: { ...process.env, LC_ALL: "C", LIBVIRT_DEFAULT_URI: "" },
			});
			const out: Buffer[] = [];
			let size = 0;
			let words = "";
			let late = false;
			const timer = setTimeout(() => {
				late = true;
				child.kill("SIGKILL");
			}, ms);
			child.once("error", (error: NodeJS.ErrnoException) => {
				clearTimeout(timer);
				reject(
					error.code === "ENOENT"
						? new HypervisorError("UNSUPPORTED", "virsh is not installed (package libvirt-clients)")
						: new HypervisorError("FAILED", `cannot run virsh: ${causeOf(error)}`),
				);
			});
			child.stdout.on("data", (piece: Buffer) => {
				size += piece.length;
				if (size > OUTPUT) child.kill("SIGKILL");
				else out.push(piece);
			});
			child.stderr.setEncoding("utf8").on("data", (piece: string) => {
				if (words.length < 65536) words += piece;
			});
			child.once("close", (code) => {
				clearTimeout(timer);
				if (code === 0) resolve(Buffer.concat(out));
				else if (late) reject(new HypervisorError("TIMEOUT", `libvirt: no answer to ${args[0]} within ${ms} ms`));
				else reject(refusal(args[0], words));
			});
		});
	}
}

const refusal = (call: string, words: string): HypervisorError => {
	const lines = words
		.split("\n")
		.map((line) => line.replace(/^error: /, "").trim())
		.filter((line) => line !== "");
	const code = MEANINGS.find(([pattern]) => pattern.test(words))?.[1] ?? "FAILED";
	// virsh says what it could not do, and below that why.
	const why = (lines.at(-1) ?? `${call} failed without a reason`).replace(/^(internal error|operation failed): /i, "");
	return new HypervisorError(code, `libvirt: ${why.slice(0, 500)}`);
};
