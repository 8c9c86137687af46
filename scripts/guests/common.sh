# Shared by the guest builders: cache directory, progress lines, lock, apt settings of this machine.
# Sourced, never run. Progress goes to stderr, so that a builder's stdout is only the path of what it built.

cache="${SPRINGBACK_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/springback}"

say() { printf '%s\n' "$*" >&2; }

fail() {
	say "$(basename "$0"): $*"
	exit 1
}

need() {
	local tool
	for tool in "$@"; do
		command -v "$tool" >/dev/null 2>&1 || fail "$tool is missing: run scripts/setup --test first"
	done
}

# recipe_key FILE…: the first 16 hex digits of a hash over the recipe, so that an edited recipe builds anew.
recipe_key() { cat "$@" | sha256sum | cut -c1-16; }

# One builder at a time per guest; the lock goes with the process, however it ends.
lock_guest() {
	mkdir -p "$cache"
	exec 9>"$cache/$1.lock"
	flock --nonblock 9 || {
		say "another build of $1 is running; waiting for it"
		flock 9
	}
}

# forget_old PATTERN: what no checkout has used for a week.
forget_old() { find "$cache" -mindepth 1 -maxdepth 1 -path "$1" -mtime +7 -exec rm -rf {} +; }

# This machine's proxy and date checks, as options for an apt that does not read its configuration.
apt_options() {
	apt-config dump --format '%F "%v";%n' Acquire 2>/dev/null |
		grep -E '^Acquire::(https?::Proxy|Check-Valid-Until|Check-Date) ' || true
}

# fetch_packages FOLDER NAME…: downloads Debian packages into FOLDER and unpacks them in FOLDER/unpacked, installing nothing;
# of a package that only names a kernel, that kernel. With this machine's package lists; when they are missing or stale,
# with fresh ones of FOLDER, which takes no root.
fetch_packages() {
	local folder="$1" apt=(-o APT::Sandbox::User=root) name file
	shift
	_download() {
		for name in "$@"; do
			case "$name" in linux-image-*)
				name="$(apt-cache "${apt[@]}" depends "$name" 2>/dev/null |
					awk '$1 == "Depends:" && $2 ~ /^linux-image-[0-9]/ { print $2; exit }')"
				;;
			esac
			[ -n "$name" ] && (cd "$folder" && apt-get "${apt[@]}" download -qq "$name" >&2) || return 1
		done
	}
	_download "$@" 2>/dev/null || {
		mkdir -p "$folder/lists/partial" "$folder/archives/partial"
		apt+=(-o "Dir::State::Lists=$folder/lists" -o "Dir::Cache=$folder/archives")
		apt-get "${apt[@]}" -qq update >&2 && _download "$@" || fail "cannot download the Debian packages $*"
	}
	for file in "$folder"/*.deb; do dpkg-deb -x "$file" "$folder/unpacked"; done
}

# as_root BUILDER ARGUMENT…: runs a builder that mounts images. What it makes belongs to the caller afterwards.
as_root() {
	if [ "$(id -u)" = 0 ]; then
		"$@"
		return
	fi
	command -v sudo >/dev/null || fail "building the VM's image takes root, and there is no sudo here: run this as root"
	sudo SPRINGBACK_CACHE="$cache" "$@"
	sudo chown -R "$(id -u):$(id -g)" "$cache"
}

# own_mounts "$@": runs the script again in mount and process namespaces of its own. With loop devices that clear
# themselves (mount -o loop), even `kill -9` then leaves no process, mount or device.
own_mounts() {
	[ "${SPRINGBACK_OWN_MOUNTS:-}" = "$0" ] && return
	[ "$(id -u)" = 0 ] || fail "needs root to mount a disk image: run it with sudo"
	need setpriv unshare losetup flock
	setpriv --pdeathsig KILL -- unshare --mount --propagation private --pid --fork --kill-child --mount-proc -- \
		env SPRINGBACK_OWN_MOUNTS="$0" bash "$0" "$@" &
	# unshare itself ignores the signals that end this script.
	trap 'kill -KILL $!; exit 130' INT
	trap 'kill -KILL $!; exit 143' TERM HUP
	wait $! && exit 0
	exit $?
}
