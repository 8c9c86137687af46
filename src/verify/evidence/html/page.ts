/** The report as a page that stands alone: nothing is loaded, no script runs. */
import { createHash } from "node:crypto";
import type { RunReport, VmReport } from "../../model.js";
import type { SignedReport } from "../document.js";
import { bytes, counted, span, utc } from "../text.js";
import { FAULT, serviceInWords, verdict, worstFirst } from "../words.js";
import { html, type Insert, type Markup } from "./markup.js";
import { STYLES } from "./styles.js";
import type { TrendPoint } from "./trend.js";
import { badge, vmSection } from "./vm.js";

/** Former verifications of each VM, oldest first, this run's the last. */
export type History = ReadonlyMap<string, readonly TrendPoint[]>;

/** All of the page but the documents that are embedded at its end: up to and including the last visible element. */
export const page = (signed: SignedReport, history: History): string => {
	const { report } = signed;
	const style = createHash("sha256").update(STYLES).digest("base64");
	const policy = `default-src 'none'; style-src 'sha256-${style}'; img-src data:; base-uri 'none'; form-action 'none'`;
	const vms = worstFirst(report.vms).map((vm, i) => ({ vm, id: `vm-${i + 1}` }));
	const body = html`<main>
${head(report, vms)}
${glance(vms)}
${vms.map(({ vm, id }) => vmSection(vm, id, history.get(vm.vm) ?? []))}
${about(report)}
${signature(signed)}
</main>`.text;
	const title = html`${verdict(report)} – ${report.plan}, ${utc(report.started)}`.text;
	return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="${policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="referrer" content="no-referrer">
<title>${title}</title>
<style>${STYLES}</style>
</head>
<body>
${body}
`;
};

interface Numbered {
	vm: VmReport;
	id: string;
}

const head = (report: RunReport, vms: Numbered[]): Markup => {
	const wrong = vms.filter(({ vm }) => vm.result === "failed" || vm.result === "warning");
	const shown = report.result === "cancelled" ? "skipped" : report.result;
	return html`<header class="verdict r-${shown}">
<p class="kicker">Restore verification, plan ${report.plan}</p>
<h1>${badge(report.result)} ${verdict(report)}</h1>
<p>${utc(report.started)}, ${span(Date.parse(report.ended) - Date.parse(report.started))}. Started by ${report.by.user} on ${report.by.machine}.</p>
${
	wrong.length === 0
		? ""
		: html`<ul>${wrong.map(
				({ vm, id }) =>
					html`<li><a href="#${id}"><strong>${vm.vm}</strong></a>: ${vm.fault === null ? "" : html`${FAULT[vm.fault].name}. `}${vm.summary}</li>
`,
			)}</ul>`
}
</header>`;
};

const glance = (
	vms: Numbered[],
): Markup => html`<section class="card" aria-labelledby="glance"><h2 id="glance">At a glance</h2>
<div class="wide"><table><thead><tr><th scope="col">Result</th><th scope="col">VM</th><th scope="col">Restore point</th><th scope="col">What was found</th><th scope="col" class="number">Tests passed</th><th scope="col" class="number">Time to service</th><th scope="col" class="number">Read to boot</th></tr></thead>
<tbody>${vms.map(
	({
		vm,
		id,
	}) => html`<tr><td>${badge(vm.result)}</td><th scope="row"><a href="#${id}">${vm.vm}</a></th><td class="time">${utc(vm.point.time)}</td>
<td class="found">${vm.fault === null ? vm.summary : FAULT[vm.fault].name}</td>
<td class="number">${vm.tests.filter(({ result }) => result === "passed").length} of ${vm.tests.length}</td>
<td class="number">${serviceInWords(vm)}</td>
<td class="number">${vm.readToBoot === null ? "–" : bytes(vm.readToBoot)}</td></tr>
`,
)}</tbody></table></div></section>`;

const row = (name: string, value: Insert): Markup => html`<tr><th scope="row">${name}</th><td>${value}</td></tr>
`;

const about = (
	report: RunReport,
): Markup => html`<section class="card" aria-labelledby="about"><h2 id="about">How it was done</h2>
<p>Each restore point was published read-only from the repository under a session of its own that takes all writes, booted in a lab network without a way out, tested, and switched off. The session was then thrown away.</p>
<div class="wide"><table><tbody>
${row("Run", html`<code>${report.id}</code>`)}
${row("Started by", html`${report.by.user} on ${report.by.machine}: <code>${report.by.command}</code>`)}
${row("From, to", `${utc(report.started)}, ${utc(report.ended)}`)}
${row("Repository", html`${report.repository.path} <span class="note">${report.repository.id}</span>`)}
${row("Host", `${report.host.name} (${report.host.type})`)}
${row("Versions", [["springback", report.springback], ...Object.entries(report.host.versions)].map(([name, version]) => `${name} ${version}`).join(", "))}
${row("Lab", `${report.labMode}; at most ${counted(report.limits.parallel, "VM")}, ${counted(report.limits.cpus, "processor")} and ${bytes(report.limits.memoryMiB * 2 ** 20)} of memory at once`)}
</tbody></table></div></section>`;

const signature = ({
	chain,
	key,
	signature,
}: SignedReport): Markup => html`<section class="card" aria-labelledby="signature"><h2 id="signature">Signature</h2>
<p>This page and the report in it are signed. To find out whether either was changed:</p>
<pre tabindex="0">springback report verify FILE.html</pre>
<p>A page cannot vouch for itself: compare the fingerprint with the one that the owner of the server gives you (<code>report-key.pub</code> in its state directory), or give that file with <code>--key</code>. How to verify without springback: docs/verification.md.</p>
<div class="wide"><table><tbody>
${row("Algorithm", "Ed25519 (RFC 8032) over canonical JSON (RFC 8785)")}
${row("Fingerprint of the key", html`<code>${groups(key.fingerprint)}</code> <span class="note">SHA-256 of the public key</span>`)}
${row("Signature of the report", html`<code>${signature}</code>`)}
${row(
	"Place in the chain",
	chain.previous === null
		? `${chain.sequence}: the first report of this key for this repository`
		: html`${chain.sequence}, after run <code>${chain.previous.run}</code>, whose file has the SHA-256 <code>${chain.previous.sha256}</code>`,
)}
</tbody></table></div></section>`;

const groups = (hex: string): string => hex.replace(/(.{8})(?=.)/g, "$1 ");
