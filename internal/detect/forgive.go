package detect

import "github.com/muster-id/muster/internal/nhi"

// Forgive forgets every term of a credential: somebody lifted its containment
// and so took the responsibility for what was done with it until now.
func (l *Ledger) Forgive(id nhi.CredentialID) { delete(l.credential, id) }
