/**
 * Waits for a web server inside a guest.
 */
import { setTimeout as sleep } from "node:timers/promises";

/**
 * Asks until the server answers 200, and returns the body.
 *
 * @param milliseconds gives up after this long
 * @param alive ends the wait early when it turns false, for instance when the guest is gone
 */
export async function waitForHttp(
	url: string,
	milliseconds: number,
	alive: () => boolean = () => true,
): Promise<string> {
	const deadline = Date.now() + milliseconds;
	while (Date.now() < deadline && alive()) {
		try {
			const response = await fetch(url, { signal: AbortSignal.timeout(3000) });
			if (response.status === 200) return await response.text();
		} catch {
			// refused, reset or late: the guest is not up yet
		}
		await sleep(100);
	}
	throw new Error(
		alive() ? `${url} did not answer within ${milliseconds} ms` : `the guest ended before ${url} answered`,
	);
}
