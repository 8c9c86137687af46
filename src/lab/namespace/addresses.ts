/** Which address of a guest is which address outside, and how we speak to it in its own network. */

import { LabError } from "../errors.js";
import { contains, formatAddress, type Subnet } from "../ipv4.js";
import type { Layout, PlannedNetwork } from "../layout.js";
import type { Names } from "../names.js";
import { run } from "../run.js";
import { nft } from "./make.js";
import { GATEWAYS, INWARD, SOURCES, TABLE, type TesterLink } from "./rules.js";

/** An address of ours in a network. */
interface Gateway {
	address: number;
	network: number;
	/** whom it can speak to: all of a network, or a single guest whose network we do not know */
	subnet: Subnet;
}

interface Mapped {
	outside: number;
	gateway: Gateway;
	network: number;
	mac: string | undefined;
}

/** The first of the lab's /24 that guests have outside. */
const FIRST = 10;
const LAST = 254;

export class GuestAddresses {
	readonly #gateways: Gateway[];
	readonly #mapped = new Map<number, Mapped>();
	readonly #known = new Set<number>();
	/** one change at a time: each begins with what the one before has made */
	#last: Promise<unknown> = Promise.resolve();

	constructor(
		readonly names: Names,
		readonly layout: Layout,
		readonly link: TesterLink,
	) {
		this.#gateways = layout.networks.map(({ gateway, subnet }: PlannedNetwork, network) => ({
			address: gateway,
			network,
			subnet,
		}));
		for (const { nics } of layout.guests)
			for (const { address } of nics) if (address !== undefined) this.#known.add(address);
	}

	/** Addresses in use by guests are never taken as ours, and given up where we have them. */
	seen(address: number): Promise<void> {
		return this.#next(async () => {
			this.#known.add(address);
			for (const gateway of this.#gateways.filter((one) => one.address === address)) await this.#giveUp(gateway);
		});
	}

	/**
	 * The address outside of a guest's address.
	 *
	 * @param mac the card that is known to have it
	 */
	outside(address: number, network: number, mac: string | undefined): Promise<number> {
		return this.#next(() => this.#outside(address, network, mac));
	}

	#next<T>(change: () => Promise<T>): Promise<T> {
		const done = this.#last.then(change);
		this.#last = done.catch(() => {});
		return done;
	}

	async #outside(address: number, network: number, mac: string | undefined): Promise<number> {
		const found = this.#mapped.get(address);
		if (found !== undefined && found.network === network && (mac === undefined || found.mac === mac))
			return found.outside;
		const outside = found?.outside ?? this.#free();
		const gateway = await this.#gatewayFor(address, network);
		await this.#place(address, { outside, gateway, network, mac }, found);
		return outside;
	}

	#free(): number {
		const taken = new Set([...this.#mapped.values()].map((one) => one.outside));
		for (let host = FIRST; host <= LAST; host++) if (!taken.has(this.link.base + host)) return this.link.base + host;
		throw new LabError("FAILED", `guests of this lab have more than ${LAST - FIRST + 1} addresses`);
	}

	async #place(address: number, mapped: Mapped, before: Mapped | undefined): Promise<void> {
		const text = formatAddress(address);
		const bridge = this.names.bridge(mapped.network);
		const neighbour = mapped.mac === undefined ? [] : [`neigh replace ${text} lladdr ${mapped.mac} dev ${bridge}`];
		await this.#ip([
			`route replace ${text}/32 dev ${bridge} src ${formatAddress(mapped.gateway.address)}`,
			...neighbour,
		]);
		const entry = `${formatAddress(mapped.outside)} : ${text}`;
		const source = `${text} : ${formatAddress(mapped.gateway.address)}`;
		const old =
			before === undefined
				? ""
				: `delete element inet ${TABLE} ${SOURCES} { ${text} }\ndelete element inet ${TABLE} ${INWARD} { ${formatAddress(before.outside)} }\n`;
		await nft(
			this.names,
			`${old}add element inet ${TABLE} ${INWARD} { ${entry} }\nadd element inet ${TABLE} ${SOURCES} { ${source} }\n`,
		);
		this.#mapped.set(address, mapped);
	}

	async #gatewayFor(address: number, network: number): Promise<Gateway> {
		const found = this.#gateways.find((one) => one.network === network && contains(one.subnet, address));
		if (found !== undefined) return found;
		// The guest's own network is not known: a close neighbour is in it, too, unless it is tiny.
		const gateway: Gateway = { address: this.#neighbour(address), network, subnet: { base: address, prefix: 32 } };
		await this.#add(gateway);
		this.#gateways.push(gateway);
		return gateway;
	}

	#neighbour(address: number, within?: Subnet): number {
		for (let step = 1; step < 256; step++) {
			const one = (address ^ step) >>> 0;
			// Most networks end there.
			const edge = (one & 255) === 0 || (one & 255) === 255;
			const used = this.#known.has(one) || this.#gateways.some((other) => other.address === one);
			if (!edge && !used && (within === undefined || contains(within, one))) return one;
		}
		throw new LabError("FAILED", `no address beside ${formatAddress(address)} is left to speak to it`);
	}

	/** A guest has it: another of the same network, for all that were spoken to from it. */
	async #giveUp(gateway: Gateway): Promise<void> {
		const old = { ...gateway };
		const whole = gateway.subnet.prefix < 32;
		gateway.address = whole ? this.#neighbour(old.address, old.subnet) : this.#neighbour(old.subnet.base);
		await this.#add(gateway);
		for (const [address, mapped] of this.#mapped)
			if (mapped.gateway === gateway) await this.#place(address, mapped, mapped);
		await this.#ip([`addr del ${this.#prefixed(old)} dev ${this.names.bridge(old.network)}`]);
		await nft(this.names, `delete element inet ${TABLE} ${GATEWAYS} { ${this.#element(old)} }\n`);
	}

	async #add(gateway: Gateway): Promise<void> {
		await this.#ip([`addr add ${this.#prefixed(gateway)} dev ${this.names.bridge(gateway.network)}`]);
		await nft(this.names, `add element inet ${TABLE} ${GATEWAYS} { ${this.#element(gateway)} }\n`);
	}

	#prefixed({ address, subnet }: Gateway): string {
		return `${formatAddress(address)}/${subnet.prefix}`;
	}

	#element({ address, network }: Gateway): string {
		return `"${this.names.bridge(network)}" . ${formatAddress(address)}`;
	}

	#ip(lines: string[]): Promise<string> {
		return run("ip", ["-n", this.names.namespace, "-batch", "-"], `${lines.join("\n")}\n`);
	}
}
