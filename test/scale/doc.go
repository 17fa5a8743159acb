// Package scale measures the product on the whole company of the
// demonstration: a month of its logs through the offline replay, and the living
// company with its thieves for a while. Its tests are long and are built with
// the tag scale only:
//
//	go test -tags scale -timeout 1h ./test/scale
//
// They write what they measured to docs/results, naming commit and seed.
package scale
