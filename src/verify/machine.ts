/** One VM in a lab, from its restore point: made, run, taken away. What is made is noted before. */
import { randomBytes, randomUUID } from "node:crypto";
import type { Hypervisor } from "../hypervisor/index.js";
import type { LabGuest, LabPort } from "../lab/contract.js";
import { configOf, filesOf, type Published } from "../recovery/index.js";
import type { Point } from "../repository/index.js";
import type { VmConfig } from "../vm/index.js";
import { VerifyError } from "./errors.js";
import type { VmPlan } from "./model.js";
import type { RunNotes } from "./notes.js";
import { sessionOf } from "./work-folders.js";
import type { VerifyWorld } from "./world.js";

/** What a VM will be in the lab; known before the lab is opened. */
export interface Guest {
	plan: VmPlan;
	point: Point;
	config: VmConfig;
	/** unique on the host and in the run */
	name: string;
	session: string;
	/** in the lab */
	guest: LabGuest;
}

/** @param ports that its tests will ask for */
export const makeGuest = (plan: VmPlan, point: Point, run: string, number: number, ports: LabPort[]): Guest => {
	const { withDisks } = configOf(point);
	const stem = point.vm.replace(/[^A-Za-z0-9._-]+/g, "-").replace(/^[^A-Za-z0-9]+/, "") || "vm";
	const nics = withDisks.nics.map((nic) => ({
		...nic,
		mac: nic.mac ?? `52:54:00:${[...randomBytes(3)].map((n) => n.toString(16).padStart(2, "0")).join(":")}`,
	}));
	const config = {
		...withDisks,
		nics,
		memoryMiB: plan.memoryMiB ?? withDisks.memoryMiB,
		cpus: plan.cpus ?? withDisks.cpus,
		// Topologies of the original need not divide another number of processors.
		coresPerSocket: plan.cpus === null ? withDisks.coresPerSocket : null,
	};
	const connected = nics.filter((nic) => nic.connected);
	return {
		...{ plan, point, config },
		name: `${stem.slice(0, 24)}-verify-${run.slice(0, 8)}-${number}`,
		session: sessionOf(run, number),
		guest: {
			name: stem.toLowerCase().slice(0, 63),
			nics: connected.map(({ mac, network }) => ({ mac, network: network ?? "" })),
			addresses: plan.addresses,
			ports,
		},
	};
};

/** Ids of VMs of this process, of which the host may not know yet. */
const claimed = new Set<string>();

export class Machine {
	/** on the host; "" until it is registered */
	id = "";
	#claimed: string | undefined;
	#published: Published | undefined;
	#tcp = false;

	constructor(
		readonly guest: Guest,
		private readonly host: Hypervisor,
		private readonly notes: RunNotes,
		private readonly world: VerifyWorld,
	) {}

	/** Serves the point. Resolves with what NBD clients may open, by disk. */
	async publish(): Promise<void> {
		const { session, point } = this.guest;
		this.notes.add("sessions", session);
		const uid = (await this.host.diskUser?.()) ?? null;
		const other = uid === 0 || uid === process.getuid?.() ? null : uid;
		this.#tcp = other !== null;
		this.#published = await this.world.serving.publish(session, `${point.vm}@${point.id}`, {
			...{ listen: null, redirect: null, diskUser: other },
		});
	}

	/** URI of a disk of the point itself, as it was backed up. */
	pointUri(disk: string): string {
		const uri = this.#published?.disks.find((one) => one.disk === disk)?.uris[0];
		if (uri === undefined) throw new VerifyError("FAILED", `disk ${disk} of ${this.guest.point.vm} is not served`);
		const url = new URL(uri);
		url.pathname += "@point";
		return url.href;
	}

	/** @param networks of the lab */
	async register(networks: Record<string, string>): Promise<void> {
		const { name, config, session, point } = this.guest;
		this.notes.add("vms", name);
		const listed = await this.host.list();
		const taken = listed.some(({ id }) => id === config.uuid) || !this.#claim(config.uuid);
		this.id = await this.host.register({
			name,
			// Whose original is on this host is somebody else here: the host wants it so.
			config: { ...config, name, uuid: taken || config.uuid === null ? randomUUID() : config.uuid },
			disks: this.#published!.disks.map(({ disk, uris }) => ({
				name: disk,
				source: this.#sourceOf(uris),
				format: "raw" as const,
			})),
			console: true,
			networks,
			session,
			files: await filesOf(this.world.repository, point),
		});
	}

	/** A UNIX socket of ours is open to us alone: another user's QEMU comes over loopback. */
	#sourceOf(uris: string[]): string {
		const wanted = uris.find((uri) => uri.startsWith(this.#tcp ? "nbd:" : "nbd+unix:"));
		if (wanted !== undefined) return wanted;
		throw new VerifyError(
			"STATE",
			this.#tcp
				? "NBD is not served over TCP without TLS: finish what the mount process serves first, or use another --state"
				: "the mount process has no NBD socket: use a shorter --state, whose path with the socket's name has 107 bytes at most",
		);
	}

	/** False when another copy of the VM, which is registered at this moment, has its id. */
	#claim(uuid: string | null): boolean {
		if (uuid === null || claimed.has(uuid)) return false;
		claimed.add(uuid);
		this.#claimed = uuid;
		return true;
	}

	async powerOn(): Promise<void> {
		await this.host.power(this.id, "on");
	}

	/** Pulls the plug, and takes VM and session away. Goes on where a part fails, and rejects then. */
	async end(): Promise<void> {
		if (this.#claimed !== undefined) claimed.delete(this.#claimed);
		await takeAway(this.guest.name, this.guest.session, this.host, this.notes, this.world);
	}
}

/** Also of a run that was killed: by names alone. */
export const takeAway = async (
	name: string | undefined,
	session: string | undefined,
	host: Hypervisor,
	notes: RunNotes,
	{ serving }: Pick<VerifyWorld, "serving">,
): Promise<void> => {
	if (name !== undefined && notes.note.vms.includes(name)) {
		const vm = (await host.list()).find((one) => one.name === name);
		if (vm !== undefined && vm.state !== "off") await host.power(vm.id, "off");
		if (vm !== undefined) await host.unregister(vm.id);
		notes.drop("vms", name);
	}
	if (session !== undefined && notes.note.sessions.includes(session)) {
		await serving.drop(session);
		notes.drop("sessions", session);
	}
};
