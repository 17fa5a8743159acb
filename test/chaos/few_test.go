//go:build !scale

package chaos

import "testing"

// rounds is how often the server is killed.
const rounds = 10

// approvalRounds is how often a server is killed around approvals.
const approvalRounds = 6

// signalRounds is how often a server is killed whose receiver is down.
const signalRounds = 4

// matrixRounds is how often something is killed in a house of many parts.
const matrixRounds = 6

// record keeps the figures of long runs only.
func record(*testing.T, string, string, string, string) {}
