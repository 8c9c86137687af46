/** Runs a flow of the demo in a network namespace of its own; its end, wished for or not, ends the process. */
import { enterNamespace, namespaceProblem } from "../lab/namespace.js";

/** `url`: the flow's `import.meta.url`. Never returns. */
export async function runFlow(url: string, main: (args: string[]) => Promise<void>): Promise<never> {
	// Whatever runs when the process ends (QEMU, the mount process) ends with its namespace.
	process.once("SIGINT", () => process.exit(130));
	process.once("SIGTERM", () => process.exit(143));
	const problem = namespaceProblem();
	try {
		if (problem) throw new Error(problem);
		await enterNamespace(url);
		await main(process.argv.slice(2));
	} catch (cause) {
		process.stderr.write(`demo: ${cause instanceof Error ? cause.message : cause}\n`);
		process.exit(1);
	}
	process.exit(0);
}
