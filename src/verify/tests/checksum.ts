/** Every block of the restore point is there and is what it was. Needs no guest. */
import type { TestKind } from "./contract.js";
import { objectSchema, withDefaults } from "./options.js";

const schema = objectSchema({});

export const checksum: TestKind = {
	kind: "checksum",
	summary: "every block of the restore point is read and compared with its identity (offline)",
	schema,
	defaults: { timeoutMs: 24 * 3600_000, retries: 0, retryMs: 0 },
	options: (given) => withDefaults(schema, given),
	title: () => "blocks of the restore point",
	ports: () => [],
	offline: true,
	fault: "damaged-data",
	async run(_options, context) {
		let [done, all] = [0, 0];
		const result = await context
			.checkBlocks((blocks, total) => {
				[done, all] = [blocks, total];
			}, context.signal)
			.catch((error) => {
				if (!context.signal.aborted) throw error;
				return undefined;
			});
		if (result === undefined)
			return { ok: false, message: `only ${done} of ${all} blocks could be compared`, fault: "infrastructure" };
		const { blocks, bytes, damaged } = result;
		const value = { name: "compared", unit: "bytes", amount: bytes };
		if (damaged.length > 0)
			return {
				ok: false,
				message: `${damaged.length} of ${blocks} blocks ${damaged.length === 1 ? "is" : "are"} damaged or missing: ${damaged[0]}`,
				output: damaged.join("\n"),
				value,
			};
		return { ok: true, message: `all ${blocks} blocks are as they were`, value };
	},
};
