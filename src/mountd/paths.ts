/** Where things lie under the state directory (`--state`, SPRINGBACK_STATE). */
import { join } from "node:path";

export interface StatePaths {
	directory: string;
	sessions: string;
	trash: string;
	/** fsid and handle key */
	identity: string;
	/** serializes changes of the sessions directory between processes */
	sessionsLock: string;
	/** last session number given out */
	counter: string;
}

export interface AddressPaths {
	socket: string;
	/** NBD */
	nbdSocket: string;
	lock: string;
	log: string;
	/** ports in use, so that a restart takes the same ones */
	ports: string;
}

export function statePaths(directory: string): StatePaths {
	return {
		directory,
		sessions: join(directory, "sessions"),
		trash: join(directory, "trash"),
		identity: join(directory, "datastore.json"),
		sessionsLock: join(directory, "sessions.lock"),
		counter: join(directory, "session-number"),
	};
}

/** One mount process per state directory and listening address. */
export function addressPaths(directory: string, listen: string): AddressPaths {
	const name = `mountd-${listen.replaceAll(":", "_")}`;
	return {
		socket: join(directory, `${name}.sock`),
		nbdSocket: join(directory, `${name}.nbd`),
		lock: join(directory, `${name}.lock`),
		log: join(directory, `${name}.log`),
		ports: join(directory, `${name}.ports.json`),
	};
}
