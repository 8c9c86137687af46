/** MySQL and MariaDB greet first: the initial handshake packet of client/server protocol 10 has the version. */
import { TestFailure } from "../contract.js";
import { oneLine } from "../text.js";
import type { Wire } from "../wire.js";

/** ER_HOST_NOT_PRIVILEGED: it works, and admits others. */
const NOT_FROM_HERE = 1130;

/** A sentence of what it is. Rejects with TestFailure. */
export const pingMysql = async (wire: Wire): Promise<string> => {
	const what = "sends no MySQL greeting";
	const length = (await wire.take(4, what)).readUIntLE(0, 3);
	if (length < 3 || length > 4096) throw new TestFailure("does not speak MySQL's protocol");
	const body = await wire.take(length, what);
	if (body[0] === 0xff) {
		const code = body.readUInt16LE(1);
		const words = oneLine(body.toString("utf8", 3).replace(/^#\w{5}/, ""));
		if (code === NOT_FROM_HERE) return `MySQL or MariaDB accepts connections (not from here: ${words})`;
		throw new TestFailure(`MySQL or MariaDB refuses: ${words} (error ${code})`);
	}
	const end = body.indexOf(0, 1);
	if (body[0] !== 10 || end < 2) throw new TestFailure("does not speak MySQL's protocol");
	const version = oneLine(body.toString("utf8", 1, end));
	// MariaDB puts "5.5.5-" first, for replicas that know no versions above 5.
	return /mariadb/i.test(version)
		? `MariaDB ${version.replace(/^5\.5\.5-/, "")} accepts connections`
		: `MySQL ${version} accepts connections`;
};
