/** The mount process as the recovery flows see it. */
import { mkdirSync } from "node:fs";
import type { MountdConfig } from "../mountd/config.js";
import { statePaths } from "../mountd/paths.js";
import type { FinishParams } from "../mountd/protocol.js";
import { SessionStore } from "../mountd/session-store.js";
import { lastConfig } from "../mountd/start.js";
import type { EndedSession, Published, PublishOptions, Serving, SessionEnd, SessionState } from "../recovery/index.js";
import { unlockRepository } from "../repository/index.js";
import type { Context } from "./command.js";
import { keySource, namedKey } from "./keys.js";
import { askMountd } from "./mountds.js";
import { namesRepository, repositoryPath, statePath } from "./places.js";
import { collectSessions } from "./session-list.js";

const LOOPBACK_ADDRESS = "127.0.0.1";

export interface ServingOptions {
	/** of new sessions; what exists knows its own */
	repository: string;
	/** how to start the mount process; what is left out is as the last time */
	config: Partial<MountdConfig>;
	/** who may connect from elsewhere */
	clients: string[];
}

export class MountdServing implements Serving {
	readonly place: string;

	constructor(
		private readonly context: Context,
		private readonly options: Partial<ServingOptions>,
	) {
		this.place = statePaths(statePath(context)).sessions;
		mkdirSync(this.place, { recursive: true, mode: 0o700 });
	}

	async sessions(): Promise<SessionState[]> {
		const all = await collectSessions(statePath(this.context));
		return all.filter(({ state }) => state !== "trash");
	}

	async publish(
		session: string,
		spec: string,
		{ listen: elsewhere, redirect, diskUser }: PublishOptions,
	): Promise<Published> {
		const listen = elsewhere ?? LOOPBACK_ADDRESS;
		const stored = new SessionStore(statePath(this.context)).find(session);
		const repository = stored?.record.repository ?? this.options.repository ?? repositoryPath(this.context);
		const { client, result } = await askMountd(this.#config(listen, diskUser !== null), async (client) => {
			const served = (await client.call("sessions", {})).some((one) => one.session === session && one.state === "open");
			return client.call("publish", {
				...{ spec, repository, session, redirect: redirect ?? undefined, clients: this.options.clients },
				// What is served has its key already.
				key: served ? undefined : await this.#key(repository),
				// Another machine outlives this one, and would not know that what it did not flush is gone.
				sync: listen !== LOOPBACK_ADDRESS,
				ownerUid: diskUser ?? process.getuid?.() ?? 0,
			});
		});
		client.end();
		return { disks: result.nbd };
	}

	async end(session: string, how: SessionEnd): Promise<EndedSession> {
		const stored = new SessionStore(statePath(this.context)).find(session);
		const params: FinishParams = { session, how: how === "unwritten" ? "auto" : how, confirm: session };
		const { client, result } = await askMountd(this.#config(stored?.record.listen ?? LOOPBACK_ADDRESS), (client) =>
			client.call("finish", params),
		);
		client.end();
		return result;
	}

	/** @param tcp NBD over TCP is needed, on any port when none was named */
	#config(listen: string, tcp = false): MountdConfig {
		const last = lastConfig(statePath(this.context), listen);
		return { ...last, ...(tcp && last.nbdPort === undefined ? { nbdPort: 0 } : {}), ...this.options.config };
	}

	async #key(repository: string): Promise<{ repository: string; master: string } | undefined> {
		const named = namesRepository(this.context) && repositoryPath(this.context) === repository;
		const source = named ? await namedKey(this.context) : keySource(this.context);
		const unlocked = await unlockRepository(repository, source);
		return unlocked && { repository: unlocked.repository, master: unlocked.master.toString("hex") };
	}
}
