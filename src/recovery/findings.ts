/** What a dry run says: each thing that was looked at, by name. */
export interface Finding {
	what: string;
	/** refused: the recovery does not begin; changed: it differs from the original, on purpose */
	level: "ok" | "changed" | "warning" | "refused";
	message: string;
}

export class Findings {
	readonly all: Finding[] = [];

	ok(what: string, message: string): void {
		this.all.push({ what, level: "ok", message });
	}

	changed(what: string, message: string): void {
		this.all.push({ what, level: "changed", message });
	}

	warning(what: string, message: string): void {
		this.all.push({ what, level: "warning", message });
	}

	refused(what: string, message: string): void {
		this.all.push({ what, level: "refused", message });
	}

	get refusals(): Finding[] {
		return this.all.filter(({ level }) => level === "refused");
	}
}
