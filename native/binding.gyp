{
	"targets": [
		{
			"target_name": "springback",
			"sources": [
				"src/addon.cc",
				"src/args.cc",
				"src/bind_faults.cc",
				"src/bind_lane.cc",
				"src/bind_plain.cc",
				"src/bind_sys.cc",
				"src/codec.cc",
				"src/errors.cc",
				"src/faults.cc",
				"src/hash.cc",
				"src/jobs.cc",
				"src/lane.cc",
				"src/record.cc",
				"src/record_queue.cc",
				"src/seal.cc",
				"src/socket_owner.cc",
				"src/sys.cc"
			],
			"defines": ["NAPI_VERSION=9", "NODE_ADDON_API_CPP_EXCEPTIONS_ALL", "NODE_ADDON_API_DISABLE_DEPRECATED"],
			"cflags": ["-isystem", "<(module_root_dir)/../node_modules/node-addon-api", "-O3", "-Wall", "-Wextra", "-fvisibility=hidden"],
			"cflags!": ["-Wno-unused-parameter", "-fno-exceptions"],
			"cflags_cc": ["-std=c++20", "-fexceptions"],
			"cflags_cc!": ["-fno-exceptions", "-std=gnu++17", "-std=gnu++20"],
			# Static where Debian's dev package has the archive; their symbols stay inside, because a node binary
			# may export its own copy of the same library.
			"libraries": [
				"<!@(for l in lz4 zstd; do a=$(${CC:-cc} -print-file-name=lib$l.a); if [ -f \"$a\" ]; then echo \"$a\"; else echo -l$l; fi; done)"
			],
			"ldflags": ["-Wl,--exclude-libs,ALL", "-Wl,-Bsymbolic", "-Wl,-z,now", "-Wl,-z,relro"]
		}
	]
}
