/**
 * Asks by ARP for the addresses of a network whose guests have not shown one: a guest with a fixed address may never
 * speak by itself. Few at a time, because the kernel keeps one table of neighbours for the whole machine.
 */
import { formatAddress, sizeOf } from "../ipv4.js";
import type { Layout } from "../layout.js";
import type { Names } from "../names.js";
import { run } from "../run.js";

const AT_ONCE = 16;
/** addresses of a network that is not asked through */
const TOO_MANY = 257;

export class Sweep {
	/** by network: what to ask for next, counted from its first address */
	readonly #next = new Map<number, number>();

	constructor(
		readonly names: Names,
		readonly layout: Layout,
	) {}

	/**
	 * Asks for the next few. Whoever has one answers, and is noted as all ARP is.
	 *
	 * @param networks with a guest of which no address is known
	 */
	async step(networks: number[]): Promise<void> {
		const lines = networks.flatMap((n) => {
			const { subnet, gateway, known } = this.layout.networks[n];
			const size = sizeOf(subnet);
			if (!known || size >= TOO_MANY) return [];
			const start = this.#next.get(n) ?? 1;
			const end = Math.min(start + AT_ONCE, size - 1);
			this.#next.set(n, end >= size - 1 ? 1 : end);
			return Array.from({ length: end - start }, (_, index) => subnet.base + start + index)
				.filter((address) => address !== gateway)
				.map((address) => `neigh replace ${formatAddress(address)} dev ${this.names.bridge(n)} use`);
		});
		if (lines.length === 0) return;
		await run("ip", ["-n", this.names.namespace, "-batch", "-"], `neigh flush nud failed\n${lines.join("\n")}\n`);
	}
}
