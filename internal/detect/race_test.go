//go:build race

package detect

// Pages are made of atomic words, which the race detector makes very slow:
// under it fewer lives are lived.
const raced = true
