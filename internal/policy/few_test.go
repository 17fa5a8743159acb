//go:build conformance && !soak

package policy

// pairs of a random set and a question; make soak asks more.
const pairs = 20_000
