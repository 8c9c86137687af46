/** A server over an in-memory file system for one test, closed when the test ends. */
import type { Test } from "tap";
import { type NfsServerOptions, startNfsServer } from "../../src/nfs/server.js";
import { MemoryFileSystem } from "./memory-fs.js";
import { NfsClient } from "./nfs-client.js";
import type { CallOptions } from "./raw-client.js";

export interface Clock {
	now: () => bigint;
	advance(seconds: number): void;
}

export function clock(): Clock {
	let time = 1_700_000_000_000_000_000n;
	return {
		now: () => time,
		advance: (seconds) => {
			time += BigInt(seconds) * 1_000_000_000n;
		},
	};
}

export async function served(t: Test, options: Partial<NfsServerOptions> & { paths?: string[] } = {}) {
	const { paths, ...rest } = options;
	const fileSystem = new MemoryFileSystem(paths);
	const logs: string[] = [];
	const time = clock();
	const server = await startNfsServer({
		fileSystem,
		listen: "127.0.0.1",
		nfsPort: 0,
		mountPort: 0,
		portmap: "off",
		now: time.now,
		log: (line) => logs.push(line),
		...rest,
	});
	t.teardown(() => server.close());
	const connect = async (callOptions: CallOptions = {}): Promise<NfsClient> => {
		const client = await NfsClient.connect(server.nfsPort, callOptions);
		t.teardown(() => client.close());
		return client;
	};
	return { fileSystem, server, logs, time, connect };
}
