/** Where a text is shown that changes: drawn over itself on a terminal, one after the other elsewhere. */
export interface Screen {
	show(text: string): void;
	/** Gives the terminal back as it was. */
	end(): void;
}

const ENTER = "\x1b[?1049h\x1b[?25l";
const LEAVE = "\x1b[?25h\x1b[?1049l";
const HOME = "\x1b[H";
const CLEAR_LINE = "\x1b[K";
const CLEAR_BELOW = "\x1b[J";

export function openScreen(output: NodeJS.WriteStream): Screen {
	if (!output.isTTY) return { show: (text) => output.write(`${text}\n\n`), end: () => undefined };
	let shown = "";
	let open = true;
	const draw = (): void => {
		const { rows, columns } = output;
		// A line too long or too many would scroll, and the picture with it.
		const lines = shown.split("\n").slice(0, rows);
		output.write(`${HOME}${lines.map((line) => line.slice(0, columns) + CLEAR_LINE).join("\n")}${CLEAR_BELOW}`);
	};
	const end = (): void => {
		if (!open) return;
		open = false;
		output.off("resize", draw);
		process.off("exit", end);
		output.write(LEAVE);
	};
	output.write(ENTER);
	output.on("resize", draw);
	// Also when a second Ctrl-C or an error ends us at once.
	process.on("exit", end);
	return {
		show(text) {
			shown = text;
			draw();
		},
		end,
	};
}
