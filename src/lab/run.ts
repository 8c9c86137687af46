/** Programs that make and take away parts of a lab: one process for each call, arguments as an array, no shell. */
import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { LabError } from "./errors.js";

/** Debian packages, for messages. */
const PACKAGES: Readonly<Record<string, string>> = {
	ip: "iproute2",
	nft: "nftables",
	dnsmasq: "dnsmasq-base",
	nsenter: "util-linux",
};
const CALL_MS = 30_000;
/** bytes; the list of a lab's addresses is far smaller */
const OUTPUT = 16 * 1024 * 1024;

/** Some keep these in folders that are not in everybody's PATH. */
const environment = (): NodeJS.ProcessEnv => ({
	...process.env,
	LC_ALL: "C",
	PATH: `${process.env.PATH ?? ""}:/usr/local/sbin:/usr/sbin:/sbin:/usr/bin:/bin`,
});

/** Debian packages of programs that labs need and this machine does not have. */
export const missingPackages = (): string[] => {
	const folders = (environment().PATH ?? "").split(":").filter((folder) => folder !== "");
	const has = (name: string): boolean => folders.some((folder) => existsSync(join(folder, name)));
	return Object.entries(PACKAGES).flatMap(([name, debianPackage]) => (has(name) ? [] : debianPackage));
};

/** What the program prints. Rejects with LabError and the program's own words. */
export const run = (program: string, args: string[], input = ""): Promise<string> =>
	new Promise((resolve, reject) => {
		const child = spawn(program, args, { stdio: "pipe", env: environment() });
		const timer = setTimeout(() => child.kill("SIGKILL"), CALL_MS);
		let out = "";
		let words = "";
		child.once("error", (error: NodeJS.ErrnoException) => {
			clearTimeout(timer);
			reject(notRun(program, error));
		});
		child.stdout.setEncoding("utf8").on("data", (piece: string) => {
			out += piece;
			if (out.length > OUTPUT) child.kill("SIGKILL");
		});
		child.stderr.setEncoding("utf8").on("data", (piece: string) => {
			if (words.length < 65536) words += piece;
		});
		// A program that ended before it read everything says why itself.
		child.stdin.on("error", () => {});
		child.stdin.end(input);
		child.once("close", (code, signal) => {
			clearTimeout(timer);
			if (code === 0) resolve(out);
			else reject(refusal(program, args, words, code ?? signal));
		});
	});

const notRun = (program: string, error: NodeJS.ErrnoException): LabError =>
	error.code === "ENOENT"
		? new LabError("UNSUPPORTED", `${program} is not installed (package ${PACKAGES[program] ?? program})`)
		: new LabError("FAILED", `cannot run ${program}: ${error.message}`);

const refusal = (program: string, args: string[], words: string, end: unknown): LabError => {
	const line = (words.split("\n").find((one) => one.trim() !== "") ?? `ended with ${end}`).trim();
	// nsenter says so of what it is to run.
	const missing = /^nsenter: failed to execute (\S+): No such file/.exec(line)?.[1];
	if (missing !== undefined)
		return new LabError("UNSUPPORTED", `${missing} is not installed (package ${PACKAGES[missing] ?? missing})`);
	if (/operation not permitted|permission denied|read-only file system/i.test(words))
		return new LabError(
			"DENIED",
			`${program} ${args.slice(0, 3).join(" ")}: ${line}: a lab needs root with CAP_NET_ADMIN and CAP_SYS_ADMIN, or mode "user"`,
		);
	return new LabError("FAILED", `${program} ${args.slice(0, 4).join(" ")}: ${line.slice(0, 500)}`);
};
