//go:build scale

package scale

const identities = 1_000_000
