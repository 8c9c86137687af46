/** Roles: what a VM is for, and the tests that make sense then. */
import type { TestSpec } from "./contract.js";

/** What a role says of a test; the rest is the kind's default. */
export type RoleTest = Pick<TestSpec, "kind"> & Partial<Omit<TestSpec, "kind">>;

export interface Role {
	/** one line, for people who choose */
	summary: string;
	tests: RoleTest[];
	/** ms: all of the VM's verification is over after so long */
	timeoutMs: number;
	/** starts, and has to pass, before the others of its group: they depend on it */
	first: boolean;
}

const MINUTE = 60_000;
const boot: RoleTest = { kind: "boot" };
const tcp = (port: number, optional = false): RoleTest => ({ kind: "tcp", options: { port }, optional });

/** A role's tests are those that need no knowledge of the VM. Plans add what only the owner knows. */
export const ROLES: Readonly<Record<string, Role>> = {
	directory: {
		summary: "directory server (Active Directory, LDAP): answers LDAP; starts first and may take half an hour",
		tests: [
			{ kind: "boot", timeoutMs: 10 * MINUTE },
			// After a restore a domain controller answers LDAP long before it answers for its domain, or the other way round.
			{ kind: "ldap", timeoutMs: 30_000, retries: 30, retryMs: 20_000 },
			{ kind: "dns", optional: true },
			// Kerberos
			tcp(88, true),
		],
		timeoutMs: 30 * MINUTE,
		first: true,
	},
	dns: {
		summary: "name server: answers on port 53",
		tests: [boot, { kind: "dns" }],
		timeoutMs: 10 * MINUTE,
		first: false,
	},
	database: {
		summary: "database server: PostgreSQL, MySQL, MariaDB or SQL Server accepts connections",
		tests: [boot, { kind: "sql", retries: 60 }],
		timeoutMs: 20 * MINUTE,
		first: false,
	},
	"file-server": {
		summary: "file server: negotiates SMB",
		tests: [boot, { kind: "smb" }],
		timeoutMs: 15 * MINUTE,
		first: false,
	},
	mail: {
		summary: "mail server: greets on port 25",
		tests: [boot, { kind: "smtp" }],
		timeoutMs: 15 * MINUTE,
		first: false,
	},
	web: {
		summary: "web server: answers on port 80",
		tests: [boot, { kind: "http" }],
		timeoutMs: 15 * MINUTE,
		first: false,
	},
};
