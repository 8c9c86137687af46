/**
 * Times of restore points. A TIME names a second, a minute or a day and means its end, because points are taken
 * within the unit that is printed for them. With `Z` or an offset it is exact; without, it is local time.
 */

/** "2026-11-21T01:02:03Z" */
export const secondsText = (ms: number): string => `${new Date(ms).toISOString().slice(0, 19)}Z`;

const TIME = /^(\d{4})-(\d\d)-(\d\d)(?:[T ](\d\d):?(\d\d)(?::?(\d\d)(?:\.\d+)?)?\s*(Z|z|[+-]\d\d:?\d\d)?)?$/;

/** True when the text has the form of a TIME rather than an id prefix. */
export const looksLikeTime = (text: string): boolean => /^\d{4}-/.test(text);

/** All instants (last ms of the unit named) that the text can mean: none when no such time exists, two in the hour that repeats. */
export const instantsOf = (text: string): number[] => {
	const match = TIME.exec(text);
	if (match === null) return [];
	const [year, month, day] = [match[1], match[2], match[3]].map(Number);
	const hasTime = match[4] !== undefined;
	const hour = hasTime ? Number(match[4]) : 23;
	const minute = hasTime ? Number(match[5]) : 59;
	const second = match[6] !== undefined ? Number(match[6]) : 59;
	if (month < 1 || month > 12 || day < 1 || hour > 23 || minute > 59 || second > 59) return [];
	const asUtc = Date.UTC(year, month - 1, day, hour, minute, second, 999);
	if (new Date(asUtc).getUTCDate() !== day) return [];
	const zone = match[7];
	if (zone !== undefined) return [asUtc - zoneMs(zone)];
	// The offsets in force a day before and after: their readings differ only around a change of the clocks.
	const offsets = [asUtc - 86_400_000, asUtc + 86_400_000].map((t) => new Date(t).getTimezoneOffset() * 60_000);
	const candidates = [...new Set(offsets.map((offset) => asUtc + offset))];
	return candidates.filter((t) => t - new Date(t).getTimezoneOffset() * 60_000 === asUtc).sort((a, b) => a - b);
};

const zoneMs = (zone: string): number => {
	if (zone === "Z" || zone === "z") return 0;
	const minutes = Number(zone.slice(1, 3)) * 60 + Number(zone.slice(-2));
	return (zone[0] === "-" ? -minutes : minutes) * 60_000;
};
