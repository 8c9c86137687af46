/** `springback backup VM --host NAME` */
import { CONSISTENCIES, type HostBackupReport, hostBackup, type MinimumConsistency } from "../../backup/index.js";
import { findHost } from "../../catalog/index.js";
import { openHost } from "../../hypervisor/index.js";
import type { Command, Context } from "../command.js";
import { EXIT, UsageError } from "../exit.js";
import { counted } from "../faults.js";
import { openNamed } from "../keys.js";
import { bytes } from "../output.js";
import { catalogPlaces } from "../places.js";
import { duration, flag, text } from "../values.js";

/** Options that only mean something with `--host`. */
export const HOST_OPTIONS = {
	as: { type: "string" },
	consistency: { type: "string" },
	"no-quiesce": { type: "boolean" },
	"freeze-limit": { type: "string" },
	scratch: { type: "string" },
	"pre-script": { type: "string" },
	"post-script": { type: "string" },
	"script-limit": { type: "string" },
} as const satisfies Command["options"];

export const HOST_HELP = `springback backup VM --host NAME [--consistency LEVEL] [--pre-script FILE] [--post-script FILE] …
  Through a hypervisor, while the VM runs: brings its file systems to rest for a moment, and reads what changed since
  the last restore point (or all, and says why).
  --consistency LEVEL  application, filesystem or crash: less fails the run
  --no-quiesce         does not ask the guest to bring its file systems to rest
  --freeze-limit T     how long the guest's file systems may be frozen (10s)
  --scratch DIR        local folder with room for what the guest overwrites meanwhile (default: beside the VM)
  --pre-script FILE, --post-script FILE  programs run here before and after; the second always, told the outcome
                       (SPRINGBACK_RESULT, _POINT, _ERROR; both: _PHASE, _VM, _VM_ID, _HOST, _REPO, _NAME)
  --script-limit T     how long each of them may take (10m)
  --as NAME            what the VM is called in the repository (default: its name on the host)`;

export interface HostRun {
	vm: string;
	tags: string[];
	compression?: string;
	readLimit?: number;
}

export async function backupFromHost(context: Context, host: string, run: HostRun): Promise<number> {
	const { out, signal } = context;
	const consistency = minimum(context);
	const freezeMs = text(context, "freeze-limit") === undefined ? undefined : duration(context, "freeze-limit", 0);
	const scripts = {
		pre: text(context, "pre-script"),
		post: text(context, "post-script"),
		limitMs: duration(context, "script-limit", 600_000),
	};
	const found = findHost(catalogPlaces(context), host);
	const repository = await openNamed(context);
	const bar = out.progress("backup");
	try {
		const hypervisor = await openHost(found.type, found.uri);
		try {
			const { warnings, ...report } = await hostBackup(repository, {
				...run,
				host: found,
				hypervisor,
				as: text(context, "as"),
				consistency,
				quiesce: !flag(context, "no-quiesce"),
				freezeMs,
				scratch: text(context, "scratch"),
				scripts,
				say: (line) => out.say(line),
				progress: (p) => bar.update(p),
				signal,
			});
			bar.end();
			for (const warning of warnings) out.say(`warning: ${warning}`);
			out.result(report, line(report));
			return warnings.length > 0 ? EXIT.warnings : EXIT.ok;
		} finally {
			await hypervisor.close();
		}
	} finally {
		bar.end();
		await repository.close();
	}
}

function line({ vm, point, disks, consistency, frozenMs, seconds }: Omit<HostBackupReport, "warnings">): string {
	const sum = (of: "size" | "read" | "new" | "stored") => disks.reduce((n, disk) => n + disk[of], 0);
	const frozen = frozenMs > 0 ? `, frozen for ${frozenMs} ms` : "";
	return (
		`${vm}@${point.slice(0, 8)}: ${consistency} consistent${frozen}, ${bytes(sum("size"))} in ${counted(disks.length, "disk")}, ` +
		`${bytes(sum("read"))} read, ${bytes(sum("new"))} new, ${bytes(sum("stored"))} stored, ${seconds.toFixed(1)} s`
	);
}

function minimum(context: Context): MinimumConsistency | undefined {
	const value = text(context, "consistency");
	if (value === undefined) return undefined;
	const known = CONSISTENCIES.find((one) => one === value);
	if (known !== undefined) return known;
	throw new UsageError(`--consistency ${value}: use ${[...CONSISTENCIES].reverse().join(", ")}`);
}
