/** A VM made by us, and taken away again. */
import { randomUUID } from "node:crypto";
import {
	constants as C,
	closeSync,
	fsyncSync,
	mkdirSync,
	openSync,
	rmSync,
	statSync,
	writeFileSync,
	writeSync,
} from "node:fs";
import { homedir } from "node:os";
import { basename, dirname, isAbsolute, join } from "node:path";
import { ConfigError, consoleOf, domainFor } from "../../vm/index.js";
import type { RegisterDisk, RegisterRequest } from "../contract.js";
import { causeOf, HypervisorError } from "../errors.js";
import { diskUser } from "./disk-user.js";
import { allDomains, type Domain, definitionOf, described, type Host, stateOf } from "./domain.js";
import { acceleration, fitted } from "./fit.js";
import { lockDomain } from "./lock.js";
import { removeNote, writeNote } from "./notes.js";
import { powerOnPaused } from "./power.js";
import { NVRAM_FILE, nvramPath, TPM_FILES, tpmFolder } from "./read-config.js";
import { endPaused } from "./remove-snapshot.js";
import { withFiles } from "./with-files.js";

export const VM_NAME = /^[^/.\p{Cc}-][^/\p{Cc}]{0,127}$/u;
/** Seconds that a guest waits for an NBD server that is started again. */
const RECONNECT = 3600;

export const register = async (host: Host, request: RegisterRequest): Promise<string> => {
	const { name, config, session, files = [] } = request;
	if (!VM_NAME.test(name)) throw new HypervisorError("INVALID", `"${name}" cannot be the name of a VM here`);
	const uuid = config.uuid ?? randomUUID();
	for (const one of await allDomains(host)) {
		if (one.id === uuid)
			throw new HypervisorError(
				"STATE",
				`a VM with the id ${uuid} is here already (${one.name}): it may be the original; remove it, or give the copy a new id`,
			);
		if (one.name === name)
			throw new HypervisorError("STATE", `a VM called ${name} is here already: choose another name`);
	}
	checkDisks(request);
	await checkSockets(host, request);
	let text: string;
	try {
		const original = await fitted(host, config, files);
		text = domainFor(original && Buffer.from(original.text), {
			name,
			uuid,
			generation: randomUUID(),
			session,
			config,
			disks: request.disks,
			// "" stands for cards whose network the source does not tell.
			networks: config.nics.map(({ network }) => request.networks[network ?? ""] ?? null),
			loose: host.uri.session ? "user" : "ethernet",
			type: original === undefined ? await acceleration(host) : "qemu",
			console: request.console === true && host.uri.local ? consolePath(host, uuid) : undefined,
			reconnectDelay: await reconnectDelay(host, request.disks),
		});
	} catch (error) {
		if (!(error instanceof ConfigError)) throw error;
		throw new HypervisorError("INVALID", `VM ${name}: ${error.message}`);
	}
	const domain = { host, id: uuid, name };
	try {
		await withFiles([text], ([path]) => host.virsh.call(["define", path]));
	} catch (error) {
		throw new HypervisorError(
			(error as HypervisorError).code ?? "FAILED",
			`VM ${name} was not made: ${causeOf(error)}`,
		);
	}
	try {
		await putFiles(domain, files, config.nvram ?? NVRAM_FILE);
	} catch (error) {
		await undefine(domain);
		throw new HypervisorError("FAILED", `VM ${name} was not made: its firmware's or TPM's files: ${causeOf(error)}`);
	}
	return uuid;
};

const checkDisks = ({ name, config, disks }: RegisterRequest): void => {
	for (const { name: disk, source } of disks) {
		if (!isAbsolute(source) && !/^(nfs|nbd|nbd\+unix):\/\//.test(source))
			throw new HypervisorError(
				"INVALID",
				`disk ${disk}: ${source} is no absolute path and no nfs, nbd or nbd+unix URI`,
			);
		if (!config.disks.some((one) => one.name === disk))
			throw new HypervisorError("INVALID", `disk ${disk} is not in the configuration of ${name}`);
	}
};

/** A socket that QEMU's user cannot open would only be found when the VM is powered on. */
const checkSockets = async (host: Host, { disks }: RegisterRequest): Promise<void> => {
	if (!host.uri.local) return;
	for (const { name: disk, source } of disks) {
		const socket = source.startsWith("nbd+unix:") ? new URL(source).searchParams.get("socket") : null;
		const found = socket === null ? undefined : statSync(socket, { throwIfNoEntry: false });
		const user = found === undefined ? null : await diskUser(host);
		if (found === undefined || user === null || user === 0 || user === found.uid || (found.mode & 0o002) !== 0)
			continue;
		throw new HypervisorError(
			"DENIED",
			`disk ${disk}: libvirt runs QEMU as user ${user}, who cannot open ${socket}: serve the disk over TCP on 127.0.0.1`,
		);
	}
};

/** Seconds, where libvirt has such a setting and a disk is to have it. */
export const reconnectDelay = async ({ virsh }: Host, disks: RegisterDisk[]): Promise<number | undefined> => {
	if (!disks.some(({ source }) => source.startsWith("nbd"))) return undefined;
	const version = /Running against daemon: (\d+)\.(\d+)/.exec(await virsh.call(["version", "--daemon"]));
	const [major, minor] = [Number(version?.[1] ?? 0), Number(version?.[2] ?? 0)];
	return major > 9 || (major === 9 && minor >= 3) ? RECONNECT : undefined;
};

/** NVRAM and TPM as they were: libvirt would make new ones. */
const putFiles = async (
	domain: Domain,
	files: NonNullable<RegisterRequest["files"]>,
	nvramName: string,
): Promise<void> => {
	const { config } = described(domain, await definitionOf(domain, "stored"));
	const nvram = files.find(({ name }) => name === nvramName);
	const tpm = files.filter(({ name }) => name.startsWith(TPM_FILES));
	if (nvram === undefined && tpm.length === 0) return;
	if (!domain.host.uri.local) throw new Error("they can only be written by springback on the host itself");
	const vars = nvramPath(domain, config);
	if (nvram !== undefined && vars !== null) {
		mkdirSync(dirname(vars), { recursive: true, mode: 0o700 });
		writeFileSync(vars, nvram.content, { mode: 0o600 });
	}
	if (tpm.length > 0 && config.tpm) await putTpm(domain, tpm);
};

/** libvirt makes a TPM at the first start, for a user whom only it knows: so it does, and its state is put in place. */
const putTpm = async (domain: Domain, files: NonNullable<RegisterRequest["files"]>): Promise<void> => {
	await writeNote(domain, { started: "yes" });
	await powerOnPaused(domain);
	await endPaused(domain);
	for (const { name, content } of files) {
		const fd = openSync(join(tpmFolder(domain.id), basename(name.slice(TPM_FILES.length))), C.O_WRONLY | C.O_TRUNC);
		try {
			writeSync(fd, content);
			fsyncSync(fd);
		} finally {
			closeSync(fd);
		}
	}
	await removeNote(domain);
};

export const unregister = async (domain: Domain): Promise<void> => {
	const lock = lockDomain(domain);
	try {
		if ((await stateOf(domain)) !== "off")
			throw new HypervisorError("STATE", `VM ${domain.name} is on: power it off first`);
		await undefine(domain);
	} finally {
		lock.release();
	}
};

/** Where libvirt's own logs are: its log daemon, or QEMU's user, writes there. */
const consolePath = ({ uri }: Host, uuid: string): string =>
	join(
		uri.session ? join(homedir(), ".cache/libvirt/qemu/log") : "/var/log/libvirt/qemu",
		`springback-${uuid}.console`,
	);

/** NVRAM and TPM are kept of a VM that we did not make. */
export const undefine = async (domain: Domain, keep = false): Promise<void> => {
	const { host, id } = domain;
	const definition = await definitionOf(domain, "stored");
	const ours = !keep && described(domain, definition).session !== null;
	const more = ours ? ["--nvram", "--tpm"] : ["--keep-nvram", "--keep-tpm"];
	const call = ["undefine", id, "--managed-save", "--checkpoints-metadata", "--snapshots-metadata"];
	try {
		await host.virsh.call([...call, ...more]);
	} catch (error) {
		// Before version 8.9 a TPM is not spoken of here.
		if (!/option|flags/i.test(causeOf(error))) throw error;
		await host.virsh.call([...call, more[0]]);
	}
	const log = ours && host.uri.local ? consoleOf(definition) : undefined;
	// libvirt's log daemon also keeps older parts.
	if (log === consolePath(host, id)) for (const old of ["", ".0", ".1", ".2"]) rmSync(log + old, { force: true });
};
