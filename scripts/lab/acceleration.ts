/**
 * Can this machine run guests under KVM? A device node does not answer that (nested and confined machines have one that
 * runs nothing), so a tiny guest has to come up once. The answer is kept until the next reboot.
 */
import { accessSync, constants, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";

export type Acceleration = "kvm" | "tcg";

/** Where built guests and answers about this machine are kept; `scripts/guests/common.sh` has the same rule. */
export function cacheDirectory(): string {
	const { SPRINGBACK_CACHE, XDG_CACHE_HOME } = process.env;
	return SPRINGBACK_CACHE || join(XDG_CACHE_HOME || join(homedir(), ".cache"), "springback");
}

export async function acceleration(): Promise<Acceleration> {
	try {
		accessSync("/dev/kvm", constants.R_OK | constants.W_OK);
	} catch {
		return "tcg";
	}
	const boot = readFileSync("/proc/sys/kernel/random/boot_id", "utf8").trim();
	const note = join(cacheDirectory(), "acceleration");
	try {
		const [noted, answer] = readFileSync(note, "utf8").trim().split(" ");
		if (noted === boot && (answer === "kvm" || answer === "tcg")) return answer;
	} catch {
		// not asked yet
	}
	// Imported here because running a tiny guest asks for the acceleration itself.
	const { runTiny } = await import("./tiny.js");
	const probe = await runTiny({ script: "exit 7", acceleration: "kvm", timeout: 15_000 }).catch(() => undefined);
	const answer: Acceleration = probe?.status === 7 ? "kvm" : "tcg";
	mkdirSync(cacheDirectory(), { recursive: true });
	writeFileSync(note, `${boot} ${answer}\n`);
	return answer;
}
