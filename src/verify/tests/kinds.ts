/** All kinds of tests. */
import { agent } from "./agent.js";
import { boot } from "./boot.js";
import { checksum } from "./checksum.js";
import { command } from "./command.js";
import type { TestKind } from "./contract.js";
import { dns } from "./dns.js";
import { filesystem } from "./filesystem.js";
import { http } from "./http.js";
import { ldap } from "./ldap.js";
import { ping } from "./ping.js";
import { script } from "./script.js";
import { smb } from "./smb.js";
import { smtp } from "./smtp.js";
import { sql } from "./sql.js";
import { tcp } from "./tcp.js";
import { tls } from "./tls.js";

/** In the order in which people read of them. */
export const KINDS: readonly TestKind[] = [
	boot,
	agent,
	ping,
	tcp,
	http,
	tls,
	sql,
	dns,
	smtp,
	ldap,
	smb,
	script,
	command,
	filesystem,
	checksum,
];

const BY_NAME = new Map(KINDS.map((kind) => [kind.kind, kind]));

/** undefined: there is no such kind */
export const kindOf = (name: string): TestKind | undefined => BY_NAME.get(name);
