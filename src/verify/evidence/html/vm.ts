/** What the report says of one VM. */
import type { TestReport, VmReport } from "../../model.js";
import { bytes, counted, printable, span, utc } from "../text.js";
import { FAULT, RESULT, serviceInWords } from "../words.js";
import { html, type Markup } from "./markup.js";
import { timeline } from "./timeline.js";
import { type TrendPoint, trend } from "./trend.js";

/** Word and sign, never colour alone. */
export const badge = (result: keyof typeof RESULT): Markup =>
	html`<span class="badge r-${result}"><span aria-hidden="true">${SIGNS[result]}</span> ${RESULT[result]}</span>`;

const SIGNS = { passed: "✓", failed: "✕", warning: "!", skipped: "–", cancelled: "–" } as const;

export const vmSection = (vm: VmReport, id: string, history: readonly TrendPoint[]): Markup => {
	const failed = vm.result === "failed";
	const tried = vm.timeline.length > 0 || vm.tests.length > 0 || vm.disks.length > 0;
	return html`<section class="vm" id="${id}" aria-labelledby="${id}-name">
<h2 id="${id}-name">${badge(vm.result)} ${vm.vm}</h2>
<p class="summary">${vm.summary}</p>
${
	vm.fault === null
		? ""
		: html`<div class="fault"><p><strong>${FAULT[vm.fault].name}.</strong> ${FAULT[vm.fault].meaning}</p>
<p>What to do: ${FAULT[vm.fault].advice}</p></div>`
}
${tried ? findings(vm, id, history, failed) : html`<p class="quiet">Not tried. Restore point ${utc(vm.point.time)}, <code>${vm.point.id}</code>.</p>`}
</section>`;
};

const findings = (
	vm: VmReport,
	id: string,
	history: readonly TrendPoint[],
	failed: boolean,
): Markup => html`<dl class="facts">
${fact("Restore point", utc(vm.point.time), vm.point.id)}
${fact("Time to service", serviceInWords(vm), "from power-on")}
${fact("Read to boot", vm.readToBoot === null ? "–" : bytes(vm.readToBoot), ofDisks(vm))}
${fact("Read in all", vm.readInAll === null ? "–" : bytes(vm.readInAll))}
${fact("Verified", `${span(Date.parse(vm.ended) - Date.parse(vm.started))}`, utc(vm.started))}
${fact("Group, role", [vm.group, vm.role].filter((word) => word !== null).join(", "))}
${fact("Addresses in the lab", vm.addresses.join(", ") || "none seen")}
${fact("VM Generation ID", vm.generationId ?? "none", vm.generationId === null ? undefined : "new for this boot")}
</dl>
<h3>Time line</h3>
${timeline(vm, `${id}-time`)}
<h3>Tests</h3>
${vm.tests.length === 0 ? html`<p class="quiet">None but the boot itself.</p>` : tests(vm.tests)}
${screenshots(vm)}
<h3>Time to service, run by run</h3>
${trend(vm.vm, history, `${id}-trend`)}
<h3>Restore point untouched</h3>
${disks(vm)}
${
	vm.console === ""
		? html`<p class="quiet">The serial console said nothing.</p>`
		: html`<details${failed ? html` open` : ""}><summary>Serial console (${counted(printable(vm.console).trimEnd().split("\n").length, "line")})</summary>
<pre tabindex="0" aria-label="Serial console of ${vm.vm}">${printable(vm.console).trimEnd()}</pre></details>`
}`;

const fact = (name: string, value: string, note?: string): Markup =>
	html`<div><dt>${name}</dt><dd>${value}${note === undefined ? "" : html` <span class="note">${note}</span>`}</dd></div>`;

const ofDisks = ({ disks }: VmReport): string =>
	disks.length === 0 ? "" : `of ${bytes(disks.reduce((sum, { size }) => sum + size, 0))}`;

const tests = (all: readonly TestReport[]): Markup => html`<div class="wide"><table class="tests">
<thead><tr><th scope="col">Result</th><th scope="col">Test</th><th scope="col">What was seen</th><th scope="col" class="number">Took</th><th scope="col" class="number">Attempts</th></tr></thead>
<tbody>${all.map(
	({ result, name, kind, message, output, tookMs, attempts, value }) => html`<tr>
<td>${badge(result)}</td><th scope="row">${name} <span class="note">${kind}</span></th>
<td class="found">${message}${value === null ? "" : html` <span class="note">${value.name}: ${figure(value)}</span>`}${
		output.trim() === ""
			? ""
			: html`<details${result === "failed" ? html` open` : ""}><summary>Output</summary><pre tabindex="0">${printable(output).trimEnd()}</pre></details>`
	}</td>
<td class="number">${span(tookMs)}</td><td class="number">${attempts}</td></tr>
`,
)}</tbody></table></div>`;

const figure = ({ unit, amount }: NonNullable<TestReport["value"]>): string =>
	unit === "bytes" ? bytes(amount) : unit === "ms" ? span(amount) : `${amount} ${unit}`;

const WHEN = { stable: "once it had booted", failure: "at the failure", end: "at the end" } as const;

const screenshots = ({ vm, screenshots }: VmReport): Markup => {
	if (screenshots.length === 0) return html`<h3>Screen</h3><p class="quiet">No picture was taken.</p>`;
	return html`<h3>Screen</h3>
<div class="screens">${screenshots.map(({ when, png }) =>
		isPng(png)
			? html`<figure><img src="data:image/png;base64,${png}" alt="Screen of ${vm} ${WHEN[when]}"><figcaption>Screen ${WHEN[when]}</figcaption></figure>`
			: html`<p class="quiet">The picture ${WHEN[when]} is no PNG and is not shown.</p>`,
	)}</div>`;
};

/** Base64 of something that begins as PNG files do (PNG 1.2, 3.1). */
const isPng = (base64: string): boolean => /^iVBORw0KGgo[A-Za-z0-9+/]*={0,2}$/.test(base64);

const disks = ({ disks }: VmReport): Markup => {
	if (disks.length === 0) return html`<p class="quiet">No disk was opened.</p>`;
	return html`<div class="wide"><table><thead><tr><th scope="col">Disk</th><th scope="col" class="number">Size</th><th scope="col">Identity of its content before</th><th scope="col">After the run</th></tr></thead>
<tbody>${disks.map(
		({ name, size, identityBefore, identityAfter }) =>
			html`<tr><th scope="row">${name}</th><td class="number">${bytes(size)}</td><td><code>${identityBefore}</code></td><td>${
				identityAfter === null
					? "not looked at"
					: identityAfter === identityBefore
						? html`<span class="same">✓ the same</span>`
						: html`<strong class="differs">✕ differs: <code>${identityAfter}</code></strong>`
			}</td></tr>
`,
	)}</tbody></table></div>`;
};
