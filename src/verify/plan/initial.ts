/** A plan to begin with: works as it is, and says in comments what else there is. */
import { stringify } from "yaml";
import type { TestKind } from "../tests/contract.js";
import type { Roles } from "./description.js";
import { exampleOf } from "./kind-options.js";

export interface InventoryVm {
	name: string;
	guestOs?: string | null;
	memoryMiB?: number;
	cpus?: number;
	/** networks of its cards, as the source calls them */
	networks?: readonly string[];
}

/** Words in names that say what a VM does, by role. Only roles that exist are proposed. */
const HINTS: readonly [role: string, words: RegExp][] = [
	["directory", /(^|[^a-z])(ad|dc|ldap|kdc|ipa|freeipa|samba-?dc|directory)(\d|[^a-z]|$)/],
	["database", /(^|[^a-z])(db|sql|mysql|mariadb|postgres|postgresql|pg|oracle|mssql|mongo|database)(\d|[^a-z]|$)/],
	["dns", /(^|[^a-z])(dns|ns|bind|resolver|named)(\d|[^a-z]|$)/],
	["mail", /(^|[^a-z])(mail|smtp|imap|mx|exchange|postfix)(\d|[^a-z]|$)/],
	["file-server", /(^|[^a-z])(file|files|nas|nfs|smb|share|fs)(\d|[^a-z]|$)/],
	["web", /(^|[^a-z])(web|www|http|nginx|apache|proxy|frontend|shop|wiki)(\d|[^a-z]|$)/],
];

/** The role that a VM's name hints at, among those there are; undefined: none. */
export const guessRole = ({ name }: InventoryVm, roles: Roles): string | undefined => {
	const word = name.toLowerCase();
	const plain = (text: string) => text.toLowerCase().replaceAll(/[-_ ]/g, "");
	for (const [hint, words] of HINTS) {
		const role = Object.keys(roles).find((one) => plain(hint).startsWith(plain(one)));
		if (role !== undefined && words.test(word)) return role;
	}
	return undefined;
};

/** YAML that `parsePlan` accepts with the same kinds, roles and VMs. */
export const initialPlan = (
	vms: readonly InventoryVm[],
	{ kinds, roles, host = null }: { kinds: readonly TestKind[]; roles: Roles; host?: string | null },
): string => {
	const safe = ["boot", "agent", "heartbeat"].filter((kind) => kinds.some((one) => one.kind === kind));
	return `${[
		"# What is verified, and how. Try it without booting anything:",
		"#   springback verify --plan THIS-FILE --dry-run",
		"# All that may stand here: docs/verification.md, docs/verification-plan.schema.json",
		"version: 1",
		host === null
			? "# host: NAME          # of `springback hosts`; left out: QEMU on this machine"
			: `host: ${quote(host)}`,
		"# onFailure: continue # or group: start no more of its group; stop: start nothing more",
		"# webhook: https://example.com/hook",
		"",
		"limits:",
		"  parallel: 4         # VMs at once",
		"  # cpus: 8           # processors of all VMs at once",
		"  # memory: 16g       # memory of all VMs at once",
		"  timeout: 6h         # of the whole run",
		"",
		"defaults:",
		"  points: latest      # or new: all since the last run; or {random: 3, days: 30}; or {named: ID}",
		"  stabilise: auto     # when a guest counts as booted: agent, address, {by: console, quiet: 10s}, …",
		"  timeout: 30m        # of one VM",
		"",
		"# VMs that need each other share a lab; they start in this order, and after what they name:",
		"# groups:",
		"#   shop:",
		"#     networks:",
		"#       lan: { gateway: 192.168.7.1/24 }   # guests keep their addresses; it leads nowhere",
		"#     vms:",
		"#       db1: { role: database }",
		'#       "web*": { after: [db1], memory: 1g }',
		"",
		'# VMs that stand alone, each in a lab of its own. Patterns such as "web*" work, too.',
		"vms:",
		...vms.flatMap((vm) => vmLines(vm, roles, safe)),
		"",
		"# Tests there are:",
		...kinds.map((kind) => `#   - ${exampleOf(kind)}`.padEnd(32) + kind.summary),
		"# Roles, each a set of tests:",
		...Object.entries(roles).map(([name, { summary }]) => `#   ${name}`.padEnd(32) + summary),
	].join("\n")}\n`;
};

const quote = (text: string): string => stringify(text, { lineWidth: 0 }).trim();

const vmLines = (vm: InventoryVm, roles: Roles, safe: readonly string[]): string[] => {
	const role = guessRole(vm, roles);
	const facts = [
		vm.guestOs,
		vm.cpus === undefined ? undefined : `${vm.cpus} CPU`,
		vm.memoryMiB === undefined ? undefined : `${vm.memoryMiB} MiB`,
		vm.networks !== undefined && vm.networks.length > 0 ? `on ${vm.networks.join(", ")}` : undefined,
	].filter((fact) => fact);
	const head = `  ${quote(vm.name)}:${facts.length === 0 ? "" : `  # ${facts.join(", ").replaceAll(/\s+/g, " ")}`}`;
	// The role has tests of its own; a guest of which nothing is known may have no agent, and is not blamed for it.
	if (role !== undefined) return [head, `    role: ${quote(role)}  # guessed from its name`];
	const tests = safe.map((kind) => (kind === "boot" ? "      - boot" : `      - ${kind}:\n        optional: true`));
	return tests.length === 0 ? [head] : [head, "    tests:", ...tests];
};
