// Package bench measures Muster beside well-known peers: policy evaluation
// beside Open Policy Agent, the search for leaked secrets beside gitleaks. Both
// sides run in one process on the same input, and the figure that counts is
// the ratio of the processor time they need, which a busy machine moves least.
//
// It is a module of its own so that the peers, and everything they depend on,
// are no dependencies of the product. There is nothing to import here; run
//
//	cd bench && go test -run '^$' -bench . -benchtime 200x
package bench
