package cli

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// noCoreDumps keeps secrets in memory out of files that a crash would leave,
// and out of reach of debuggers that other processes of the same user start
// (proc(5), PR_SET_DUMPABLE in prctl(2)). Giving up one's own rights is always
// allowed.
func noCoreDumps() {
	_ = syscall.Setrlimit(syscall.RLIMIT_CORE, &syscall.Rlimit{})
	_ = unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0)
}
