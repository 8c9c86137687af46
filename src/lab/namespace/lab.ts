/** A lab in a network namespace of its own. */
import type { Endpoint, Lab, LabPort, LabRequest } from "../contract.js";
import { contains, formatAddress, isGuestAddress, parseAddress } from "../ipv4.js";
import { type Layout, layoutOf, type PlannedGuest } from "../layout.js";
import { busy, isLocked, type Lock, lockLab } from "../lock.js";
import { type Names, names } from "../names.js";
import { removeNote, writeNote } from "../notes.js";
import { GuestAddresses } from "./addresses.js";
import { tellNames } from "./dnsmasq.js";
import { makeNamespace } from "./make.js";
import { spokenOf } from "./spoken.js";
import { Sweep } from "./sweep.js";
import { takeAway } from "./take-away.js";

/** ms between two looks at who has spoken of which address */
const LOOK_MS = 1000;

interface Shown {
	network: number;
	mac: string | undefined;
}

export const openNamespaceLab = async (request: LabRequest): Promise<Lab> => {
	const layout = layoutOf(request);
	const { id, directory, host } = request;
	const its = names(id);
	if (isLocked(id)) throw busy(id);
	const folder = writeNote(directory, id, "namespace");
	let lock: Lock | undefined;
	try {
		lock = lockLab(id);
		const link = await makeNamespace(its, id, folder, layout, host);
		const mapping = new GuestAddresses(its, layout, link);
		const lab = new NamespaceLab(request, layout, its, folder, mapping, new Sweep(its, layout), lock);
		await lab.start();
		return lab;
	} catch (error) {
		// Without the lock it is another's.
		if (lock !== undefined) {
			// What stays is still noted.
			await takeAway(id).then(
				() => removeNote(directory, id),
				() => {},
			);
			lock.release();
		}
		throw error;
	}
};

class NamespaceLab implements Lab {
	readonly mode = "namespace";
	/** by guest; addresses in the order in which they were seen */
	readonly #shown: Map<string, Map<number, Shown>>;
	readonly #owners = new Map<string, { guest: string; network: number }>();
	#looking: Promise<void> | undefined;
	#timer: NodeJS.Timeout | undefined;
	#told = "";
	#closing: Promise<void> | undefined;

	constructor(
		readonly request: LabRequest,
		readonly layout: Layout,
		readonly names: Names,
		readonly folder: string,
		readonly mapping: GuestAddresses,
		readonly sweep: Sweep,
		readonly lock: Lock,
	) {
		this.#shown = new Map(layout.guests.map(({ name }) => [name, new Map()]));
		for (const { name, nics } of layout.guests)
			for (const { mac, network } of nics) this.#owners.set(mac, { guest: name, network });
	}

	get id(): string {
		return this.request.id;
	}

	async start(): Promise<void> {
		this.#tell();
		const look = () => {
			// What is wrong is told to whoever asks next.
			void this.#look()
				.then(() => this.sweep.step(this.#silent()))
				.catch(() => {});
		};
		this.#timer = setInterval(look, LOOK_MS).unref();
	}

	networks(guest: string): Record<string, string> {
		const used = new Set(this.#guest(guest).nics.map(({ network }) => network));
		return Object.fromEntries(
			[...used].map((n) => [
				this.layout.networks[n].name,
				this.request.host === "libvirt"
					? `bridge:${this.names.hostBridge(n)}`
					: `lab:${this.names.namespace}/${this.names.bridge(n)}`,
			]),
		);
	}

	async addresses(guest: string): Promise<string[]> {
		this.#guest(guest);
		await this.#look();
		return [...this.#shown.get(guest)!.keys()].map(formatAddress);
	}

	learn(guest: string, text: string): void {
		const { nics } = this.#guest(guest);
		const address = parseAddress(text);
		const shown = this.#shown.get(guest)!;
		// Of IPv6 there is nothing that would carry it to the tester.
		if (address === undefined || !isGuestAddress(address) || shown.has(address)) return;
		const networks = [...new Set(nics.map(({ network }) => network))];
		const within = networks.find((n) => contains(this.layout.networks[n].subnet, address));
		const network = within ?? (networks.length === 1 ? networks[0] : undefined);
		if (network === undefined || this.#ownerOf(address) !== undefined) return;
		shown.set(address, { network, mac: undefined });
	}

	async reach(guest: string): Promise<string | undefined> {
		const { nics } = this.#guest(guest);
		await this.#look();
		const declared = nics.filter((nic) => nic.address !== undefined);
		const shown = [...this.#shown.get(guest)!];
		// What is declared and has been shown, what fits to its network, what has been shown, what is declared.
		const [address, where] = shown.find(([one]) => declared.some((nic) => nic.address === one)) ??
			shown.find(([one, { network }]) => contains(this.layout.networks[network].subnet, one)) ??
			shown[0] ?? [declared[0]?.address, declared[0]];
		if (address === undefined) return undefined;
		return formatAddress(await this.mapping.outside(address, where.network, where.mac));
	}

	async endpoint(guest: string, { port }: LabPort): Promise<Endpoint | undefined> {
		const host = await this.reach(guest);
		return host === undefined ? undefined : { host, port };
	}

	close(): Promise<void> {
		this.#closing ??= this.#close().catch((error) => {
			// It may be tried again.
			this.#closing = undefined;
			throw error;
		});
		return this.#closing;
	}

	async #close(): Promise<void> {
		clearInterval(this.#timer);
		await this.#looking?.catch(() => {});
		await takeAway(this.id);
		removeNote(this.request.directory, this.id);
		this.lock.release();
	}

	#guest(name: string): PlannedGuest {
		const guest = this.layout.guests.find((one) => one.name === name);
		if (guest === undefined) throw new RangeError(`lab ${this.id} has no guest ${name}`);
		return guest;
	}

	#ownerOf(address: number): string | undefined {
		for (const [guest, shown] of this.#shown) if (shown.has(address)) return guest;
		return undefined;
	}

	/** Networks with a guest that has not shown an address. */
	#silent(): number[] {
		const silent = this.layout.guests.filter(({ name }) => this.#shown.get(name)!.size === 0);
		return [...new Set(silent.flatMap(({ nics }) => nics.map(({ network }) => network)))];
	}

	/** Takes up what cards have shown since the last look; one look at a time. */
	#look(): Promise<void> {
		this.#looking ??= this.#lookOnce().finally(() => {
			this.#looking = undefined;
		});
		return this.#looking;
	}

	async #lookOnce(): Promise<void> {
		if (this.#closing !== undefined) return;
		for (const { mac, address: text } of await spokenOf(this.names, this.folder)) {
			const address = parseAddress(text);
			const owner = this.#owners.get(mac);
			if (address === undefined || owner === undefined || !isGuestAddress(address)) continue;
			await this.mapping.seen(address);
			// The first that has it keeps it: two guests with one address would not be reached in production either.
			if ((this.#ownerOf(address) ?? owner.guest) === owner.guest)
				this.#shown.get(owner.guest)!.set(address, { network: owner.network, mac });
		}
		this.#tell();
	}

	/** Guests find each other by their names. */
	#tell(): void {
		const known = new Map(
			this.layout.guests.map(({ name, nics }) => {
				const declared = nics.flatMap(({ address }) => (address === undefined ? [] : [address]));
				return [name, [...new Set([...declared, ...this.#shown.get(name)!.keys()])].map(formatAddress)];
			}),
		);
		const text = JSON.stringify([...known]);
		if (text === this.#told) return;
		tellNames(this.names, known);
		this.#told = text;
	}
}
