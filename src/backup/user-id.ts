/** A user id under which nothing else runs, so that nothing else can look into QEMU or be looked into. */
import { randomInt } from "node:crypto";
import { readdirSync, statSync } from "node:fs";

/** The range that systemd.exec(5), DynamicUser=, keeps for users that exist only while a process runs. */
const FIRST = 61184;
const LAST = 65519;

export function freeUserId(random: (below: number) => number = randomInt): number {
	const taken = new Set<number>();
	for (const entry of readdirSync("/proc")) {
		if (!/^\d+$/.test(entry)) continue;
		try {
			taken.add(statSync(`/proc/${entry}`).uid);
		} catch {
			// Ended meanwhile.
		}
	}
	const count = LAST - FIRST + 1;
	const start = random(count);
	for (let i = 0; i < count; i++) {
		const uid = FIRST + ((start + i) % count);
		if (!taken.has(uid)) return uid;
	}
	return LAST;
}
