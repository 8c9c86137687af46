/** How consistent the moment is, and whether that is enough. Never overstated: what the driver does not know was not reached. */
import type { Snapshot } from "../hypervisor/index.js";
import { SourceError } from "./errors.js";

/** From less to more. */
export const CONSISTENCIES = ["crash", "filesystem", "application"] as const;
export type MinimumConsistency = (typeof CONSISTENCIES)[number];

/** Throws SourceError SOURCE when less than `minimum` was reached. */
export function requireConsistency(
	{ consistency, why }: Pick<Snapshot, "consistency" | "why">,
	minimum: MinimumConsistency,
	vm: { name: string; state: string },
): void {
	if (CONSISTENCIES.indexOf(consistency) >= CONSISTENCIES.indexOf(minimum)) return;
	const reason = why ?? (vm.state === "off" ? OFF : consistency === "filesystem" ? APPLICATIONS : UNKNOWN);
	throw new SourceError(
		"SOURCE",
		`VM ${vm.name}: consistency ${minimum} was asked for, ${consistency} was reached: ${reason}; nothing was stored`,
	);
}

const OFF = "it is off, and nobody knows how it went off";
const APPLICATIONS =
	"its file systems came to rest; whether applications did is known of Windows guests only, whose VSS writers tell";
const UNKNOWN = "the host does not tell why";
