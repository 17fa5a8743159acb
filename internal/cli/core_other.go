//go:build !linux

package cli

import "syscall"

// noCoreDumps keeps secrets in memory out of files that a crash would leave.
// Giving up one's own rights is always allowed.
func noCoreDumps() { _ = syscall.Setrlimit(syscall.RLIMIT_CORE, &syscall.Rlimit{}) }
