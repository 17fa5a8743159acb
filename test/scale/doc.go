// Package scale measures the product at the size it is made for: a million
// identities with three million credentials, a month of the company's logs
// through the offline replay, and the living company with its thieves for a
// while; and a minute of load while policies are replaced and keys contained.
// Its long tests are built with the tag scale only:
//
//	go test -tags scale -timeout 6h ./test/scale
//
// They write what they measured to docs/results, naming the commit. Without the
// tag the tests of facts, of starting and of load run on a small share, with gates on
// allocations and bytes and none on the clock.
package scale
