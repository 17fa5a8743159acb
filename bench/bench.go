// Package bench measures Muster beside well-known peers: policy evaluation
// beside Open Policy Agent, the search for leaked secrets beside gitleaks. Both
// sides run in one process on the same input, and the figure that counts is
// the ratio of the processor time they need, which a busy machine moves least.
// Servers run in processes of their own, asked over HTTP in turns: Muster, OPA
// and Cerbos, which npm brings where it has it.
//
// It is a module of its own so that the peers, and everything they depend on,
// are no dependencies of the product. There is nothing to import here; run
//
//	cd bench && go test -run '^$' -bench . -benchtime 200x
//	cd bench && go test -run ServersSideBySide -v . -args -results FILE
//
// The second without -results only checks that the servers say the same.
package bench
