/** Rates as text for people. */
import { bytes, localTime, table } from "../output.js";
import { CLASSES, type ClassRates, type Latencies, type NbdRates, type ProcessRates } from "./rates.js";

/** "85 µs", "1.2 ms", "3.4 s" */
export function milliseconds(ms: number): string {
	if (ms === 0) return "-";
	if (ms < 1) return `${(ms * 1000).toFixed(ms < 0.01 ? 1 : 0)} µs`;
	return ms < 1000 ? `${ms.toFixed(ms < 10 ? 2 : 0)} ms` : `${(ms / 1000).toFixed(1)} s`;
}

export function ratesText(processes: ProcessRates[]): string {
	return processes.length === 0 ? "no session is served" : processes.map(processText).join("\n\n");
}

function processText(process: ProcessRates): string {
	const { cache, sessions, broken } = process;
	const hits = cache.hitRate === null ? "not used" : `${(cache.hitRate * 100).toFixed(1)}% hits`;
	const lines = [
		`${process.listen}  pid ${process.pid}, ${count(process.connections, "connection")}, ${bytes(process.unsentBytes)} unsent, ${bytes(process.rss)} resident, ${Math.round(process.busy * 100)}% busy, longest stall ${milliseconds(process.delay.max)}`,
		`cache  ${hits}, ${perSecond(cache.missesPerSecond)} misses/s, ${bytes(cache.allocatedBytes)} of ${bytes(cache.budgetBytes)}, ${bytes(cache.pinnedBytes)} lent`,
	];
	if (sessions.length > 0) lines.push("", workTable(process), "", overlayTable(process));
	for (const name of broken) lines.push(`${name}  failed: not served; "springback sessions" says why`);
	return lines.join("\n");
}

/** What clients ask, and how long it takes. Classes that were never used are left out. */
function workTable({ sessions }: ProcessRates): string {
	const rows: (string | number)[][] = [];
	for (const { session, classes, syncs, nbd } of sessions) {
		let name = session;
		const add = (kind: string, rates: Latencies & Partial<ClassRates>): void => {
			const { bytesInPerSecond, bytesOutPerSecond, failuresPerSecond } = rates;
			rows.push([
				name,
				kind,
				perSecond(rates.perSecond),
				bytesInPerSecond === undefined ? "" : bytes(Math.round(bytesInPerSecond)),
				bytesOutPerSecond === undefined ? "" : bytes(Math.round(bytesOutPerSecond)),
				milliseconds(rates.p50),
				milliseconds(rates.p99),
				milliseconds(rates.max),
				failuresPerSecond ? `${perSecond(failuresPerSecond)} failures/s` : "",
			]);
			name = "";
		};
		for (const kind of CLASSES) if (classes[kind].calls > 0) add(kind, classes[kind]);
		add("sync", syncs);
		if (nbd !== null) rows.push(...nbdRows(nbd));
	}
	return table(["SESSION", "", "PER S", "IN/S", "OUT/S", "P50", "P99", "MAX", ""], rows);
}

/** Disks over NBD: how long each request takes is not measured. */
function nbdRows(nbd: NbdRates): (string | number)[][] {
	const { readsPerSecond, writesPerSecond, failuresPerSecond } = nbd;
	const failures = failuresPerSecond > 0 ? `${perSecond(failuresPerSecond)} failures/s` : "";
	const [read, written] = [nbd.bytesReadPerSecond, nbd.bytesWrittenPerSecond].map((rate) => bytes(Math.round(rate)));
	return [
		["", "nbd read", perSecond(readsPerSecond), "", read, "", "", "", failures],
		["", "nbd write", perSecond(writesPerSecond), written, "", "", "", "", ""],
	];
}

function overlayTable({ sessions }: ProcessRates): string {
	const rows = sessions.map((s) => [
		s.session,
		s.vm,
		bytes(s.live),
		bytes(s.disk),
		bytes(s.free),
		s.unprotectedSince ? localTime(s.unprotectedSince) : "-",
		s.failed ? "failed: takes no writes" : "",
	]);
	return table(["SESSION", "VM", "LIVE", "ON DISK", "FREE", "UNPROTECTED SINCE", ""], rows);
}

const perSecond = (rate: number): string => (rate >= 10 || rate === 0 ? String(Math.round(rate)) : rate.toFixed(1));

const count = (n: number, what: string): string => `${n} ${what}${n === 1 ? "" : "s"}`;
