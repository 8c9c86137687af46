/** The commands by name, loaded one at a time so that starting stays quick. */
import type { Command } from "./command.js";

type Load = () => Promise<{ default: Command }>;

export const COMMANDS = {
	init: () => import("./commands/init.js"),
	backup: () => import("./commands/backup.js"),
	points: () => import("./commands/points.js"),
	publish: () => import("./commands/publish.js"),
	sessions: () => import("./commands/sessions.js"),
	finish: () => import("./commands/finish.js"),
	recover: () => import("./commands/recover.js"),
	migrate: () => import("./commands/migrate.js"),
	restore: () => import("./commands/restore.js"),
	verify: () => import("./commands/verify.js"),
	export: () => import("./commands/export.js"),
	copy: () => import("./commands/copy.js"),
	check: () => import("./commands/check.js"),
	repair: () => import("./commands/repair.js"),
	rebuild: () => import("./commands/rebuild.js"),
	forget: () => import("./commands/forget.js"),
	hold: () => import("./commands/hold.js"),
	release: () => import("./commands/release.js"),
	prune: () => import("./commands/prune.js"),
	key: () => import("./commands/key.js"),
	hosts: () => import("./commands/hosts.js"),
	vms: () => import("./commands/vms.js"),
	report: () => import("./commands/report.js"),
	doctor: () => import("./commands/doctor.js"),
} satisfies Record<string, Load>;

export type CommandName = keyof typeof COMMANDS;
