//go:build soak

package policy

const pairs = 1_000_000
