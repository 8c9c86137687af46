/**
 * A lab without privileges: QEMU's own network for each card, which lets nothing out (restrict=on) and forwards the ports
 * that were asked for. Guests do not see each other.
 */
import type { Endpoint, Lab, LabPort, LabRequest } from "../contract.js";
import { LabError } from "../errors.js";
import { contains, formatAddress, isGuestAddress, parseAddress } from "../ipv4.js";
import { type Layout, layoutOf, type PlannedGuest, type PlannedNic } from "../layout.js";
import { removeNote, writeNote } from "../notes.js";
import { type Forward, restrictedNetwork } from "./network.js";
import { freePort } from "./ports.js";

/** of this process */
const taken = new Set<number>();

export const openUserLab = async (request: LabRequest): Promise<Lab> => {
	const layout = layoutOf(request);
	checkCards(layout);
	const forwards = new Map<string, Forward[]>();
	for (const { name, nics, ports } of request.guests) {
		const theirs: Forward[] = [];
		for (const { protocol, port } of nics.length === 0 ? [] : ports) {
			if (theirs.some((one) => one.protocol === protocol && one.port === port)) continue;
			const outside = await freePort(protocol, taken);
			taken.add(outside);
			theirs.push({ protocol, outside, port });
		}
		forwards.set(name, theirs);
	}
	writeNote(request.directory, request.id, "user");
	return new UserLab(request, layout, forwards);
};

/** The driver is told what a card is on by the name of its network. */
const checkCards = ({ guests, networks }: Layout): void => {
	for (const { name, nics } of guests) {
		const used = nics.map(({ network }) => network);
		const twice = used.find((network, n) => used.indexOf(network) !== n);
		if (twice !== undefined)
			throw new LabError(
				"UNSUPPORTED",
				`guest ${name} has two cards in network "${networks[twice].name}": that needs mode "namespace" (run as root)`,
			);
	}
};

class UserLab implements Lab {
	readonly mode = "user";
	readonly #learnt = new Map<string, Set<string>>();

	constructor(
		readonly request: LabRequest,
		readonly layout: Layout,
		readonly forwards: Map<string, Forward[]>,
	) {}

	get id(): string {
		return this.request.id;
	}

	networks(guest: string): Record<string, string> {
		const planned = this.#guest(guest);
		const first = this.#forwarded(planned);
		return Object.fromEntries(
			planned.nics.map((nic) => {
				const network = this.layout.networks[nic.network];
				const forwards = nic === first ? this.forwards.get(guest)! : [];
				return [network.name, restrictedNetwork(network, this.#address(nic), forwards)];
			}),
		);
	}

	async addresses(guest: string): Promise<string[]> {
		this.#guest(guest);
		return [...(this.#learnt.get(guest) ?? [])];
	}

	learn(guest: string, text: string): void {
		this.#guest(guest);
		const address = parseAddress(text);
		if (address === undefined || !isGuestAddress(address)) return;
		const learnt = this.#learnt.get(guest) ?? new Set();
		this.#learnt.set(guest, learnt.add(text));
	}

	async reach(): Promise<undefined> {
		return undefined;
	}

	async endpoint(guest: string, { protocol, port }: LabPort): Promise<Endpoint | undefined> {
		this.#guest(guest);
		const found = this.forwards.get(guest)!.find((one) => one.protocol === protocol && one.port === port);
		return found === undefined ? undefined : { host: "127.0.0.1", port: found.outside };
	}

	async close(): Promise<void> {
		for (const { outside } of [...this.forwards.values()].flat()) taken.delete(outside);
		removeNote(this.request.directory, this.id);
	}

	#guest(name: string): PlannedGuest {
		const guest = this.layout.guests.find((one) => one.name === name);
		if (guest === undefined) throw new RangeError(`lab ${this.id} has no guest ${name}`);
		return guest;
	}

	/** The card whose address is known, or the first. */
	#forwarded({ nics }: PlannedGuest): PlannedNic {
		return nics.find(({ address }) => address !== undefined) ?? nics[0];
	}

	#address({ address, network }: PlannedNic): number {
		const { subnet, range } = this.layout.networks[network];
		if (address === undefined) return range[0];
		if (contains(subnet, address)) return address;
		throw new LabError(
			"INVALID",
			`${formatAddress(address)} is not in network "${this.layout.networks[network].name}": name its gateway in the plan`,
		);
	}
}
