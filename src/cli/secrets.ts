/**
 * Secrets from the environment, taken out of it when the program starts: processes that we start (the mount process
 * lives for long) must not inherit them.
 */
function take(name: string): Buffer | undefined {
	const value = process.env[name];
	delete process.env[name];
	return value ? Buffer.from(value) : undefined;
}

export const SECRETS = {
	passphrase: take("SPRINGBACK_PASSPHRASE"),
	newPassphrase: take("SPRINGBACK_NEW_PASSPHRASE"),
};
