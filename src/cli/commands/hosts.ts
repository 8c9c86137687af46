/** springback hosts */
import {
	Catalog,
	findHost,
	type Host,
	noteChanges,
	putHost,
	readHosts,
	removeHost,
	whoStarts,
} from "../../catalog/index.js";
import { HOST_TYPES, type HostCheck, openHost } from "../../hypervisor/index.js";
import type { Command, Context } from "../command.js";
import { EXIT, UsageError } from "../exit.js";
import { table } from "../output.js";
import { catalogPlaces } from "../places.js";
import { openCatalog, saveNamed } from "../recorded.js";
import { flag, positionals } from "../values.js";

const command: Command = {
	summary: "adds, lists, tests and removes hypervisors",
	help: `springback hosts
  Lists the hosts.
springback hosts add NAME TYPE URI [--overwrite] [--no-test]
  Tries everything that is needed of the host, and saves it when all is there.
  TYPE qemu, URI qemu:///DIR: VMs of QEMU without a daemon, each a folder below DIR on this machine
  TYPE libvirt, URI qemu:///system: VMs of libvirt on this machine; qemu+ssh://USER@HOST/system: elsewhere
  --overwrite  replaces a host of this name
  --no-test    saves it untried
springback hosts test NAME
  Tries the same again.
springback hosts remove NAME
  Forgets the host. Its VMs and their restore points stay.`,
	options: { overwrite: { type: "boolean" }, "no-test": { type: "boolean" } },
	async run(context) {
		const [verb = "list", ...rest] = context.positionals;
		const act = Object.hasOwn(VERBS, verb) ? VERBS[verb] : undefined;
		if (act === undefined) throw new UsageError(`hosts ${verb}: use add, list, test or remove`);
		for (const option of ["overwrite", "no-test"])
			if (context.values[option] !== undefined && verb !== "add") throw new UsageError(`--${option} is for hosts add`);
		return act({ ...context, positionals: rest });
	},
};
export default command;

type Act = (context: Context) => Promise<number>;

const VERBS: Record<string, Act> = {
	async list(context) {
		positionals(context, []);
		const hosts = [...readHosts(catalogPlaces(context)).values()];
		const rows = hosts.map(({ name, type, uri }) => [name, type, uri]);
		context.out.result(
			hosts,
			rows.length === 0 ? "no hosts: springback hosts add" : table(["NAME", "TYPE", "URI"], rows),
		);
		return EXIT.ok;
	},
	async add(context) {
		const [name, type, uri] = positionals(context, ["NAME", "TYPE", "URI"]);
		if (!HOST_TYPES.includes(type)) throw new UsageError(`type ${type}: use ${HOST_TYPES.join(", ")}`);
		const host = { name, type, uri };
		const checks = flag(context, "no-test") ? [] : await tested(host);
		if (checks.some(({ ok }) => !ok)) {
			context.out.result({ ...host, saved: false, checks }, checkLines(checks));
			context.out.say(`host ${name} is not saved: mend this first, or give --no-test`);
			return EXIT.failure;
		}
		const places = catalogPlaces(context);
		await putHost(places, host, flag(context, "overwrite"));
		await changed(context);
		context.out.result(
			{ ...host, saved: true, checks },
			[checkLines(checks), `host ${name} is saved in ${places.hosts}`].join("\n").trim(),
		);
		return EXIT.ok;
	},
	async test(context) {
		const [name] = positionals(context, ["NAME"]);
		const host = findHost(catalogPlaces(context), name);
		const checks = await tested(host);
		context.out.result({ ...host, checks }, checkLines(checks));
		return checks.every(({ ok }) => ok) ? EXIT.ok : EXIT.failure;
	},
	async remove(context) {
		const [name] = positionals(context, ["NAME"]);
		await removeHost(catalogPlaces(context), name);
		await changed(context);
		context.out.result({ name, removed: true }, `host ${name} is removed`);
		return EXIT.ok;
	},
};

async function tested({ type, uri }: Host): Promise<HostCheck[]> {
	const host = await openHost(type, uri).catch((error: Error) => {
		throw new UsageError(error.message);
	});
	try {
		return await host.check();
	} finally {
		await host.close();
	}
}

const checkLines = (checks: HostCheck[]): string =>
	checks.map(({ what, ok, message }) => `${ok ? "ok  " : "FAIL"}  ${what}: ${message}`).join("\n");

/** Into the catalogue and, when a repository is named, into that. The change itself is made already. */
async function changed(context: Context): Promise<void> {
	const catalog = await openCatalog(context, Catalog.open);
	try {
		noteChanges(catalogPlaces(context), catalog, whoStarts());
		await saveNamed(context, catalog);
	} finally {
		catalog.close();
	}
}
