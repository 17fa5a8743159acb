//go:build !scale

package scale

// identities of the test of facts; three times as many credentials.
const identities = 4_000
