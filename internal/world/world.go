// Package world simulates a company: who works in it without being a person,
// where they call from, what they usually do, and what thieves try. The
// demonstration, the end-to-end tests and the long runs use it.
//
// A [World] is drawn from a seed; the same seed and start make the same world,
// so screenshots, documentation and tests agree. Everything it gives is what
// the real thing would give: IAM's own export files ([World.Details],
// [World.AccessKeys], [World.Report]), CloudTrail records ([World.History]),
// the files that an administrator applies ([World.Routes], [World.Resources],
// [World.Trust]), and requests ([Workload.Next], [Thief.Next]). It never
// touches the product: whoever plays it sends these through the product's own
// doors.
//
// The company, Harbor & Pine, is a fictional payments firm. Its accounts,
// people and hosts do not exist; its addresses are drawn from the public table
// of networks, because where a call comes from is half of what is normal.
package world

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/muster-id/muster/internal/geo"
	"github.com/muster-id/muster/internal/nhi"
)

// Settings say how large a world is. The zero value is the demonstration's.
type Settings struct {
	Seed      uint64
	Start     time.Time     // the present of the world; history lies before it
	Past      time.Duration // how far history reaches back; 0: 30 days
	Users     int           // IAM users; 0: 700
	Roles     int           // IAM roles; 0: 2300
	Pipelines int           // web-identity workloads that assume roles; 0: 40
	Workloads int           // callers of the company's own interfaces; 0: 48
}

func (s Settings) withDefaults() Settings {
	def := func(v *int, d int) {
		if *v == 0 {
			*v = d
		}
	}
	def(&s.Users, 700)
	def(&s.Roles, 2300)
	def(&s.Pipelines, 40)
	def(&s.Workloads, 48)
	if s.Past == 0 {
		s.Past = 30 * 24 * time.Hour
	}
	if s.Start.IsZero() {
		s.Start = time.Date(2026, time.November, 2, 9, 30, 0, 0, time.UTC)
	}
	return s
}

// Company is the name of the fictional firm.
const Company = "Harbor & Pine"

// An Account is a cloud account of the company.
type Account struct {
	ID          string
	Name        string
	Environment nhi.Environment
	Region      string
}

// A World is a company at one moment. It is immutable after New.
type World struct {
	Settings
	Accounts  []Account
	Workloads []*Workload
	Issuer    string // of the cluster whose pipelines assume roles

	actors   []*actor
	busy     []*actor // IAM identities that are at work all day
	networks []Network
	table    *geo.Table
	spaces   sync.Map // origin to *geo.Space
}

// New draws a world. table gives the addresses.
func New(s Settings, table *geo.Table) (*World, error) {
	w := &World{Settings: s.withDefaults(), table: table, Issuer: "https://oidc.cluster-1.harborpine.example"}
	prod := nhi.Environment{Name: "production", Class: nhi.Production}
	staging := nhi.Environment{Name: "staging", Class: nhi.Nonproduction}
	sandbox := nhi.Environment{Name: "sandbox", Class: nhi.Nonproduction}
	w.Accounts = []Account{
		{"411122223301", "payments-prod", prod, "eu-west-1"},
		{"411122223302", "ledger-prod", prod, "eu-central-1"},
		{"411122223303", "platform-prod", prod, "us-east-1"},
		{"411122223304", "staging", staging, "eu-west-1"},
		{"411122223305", "sandbox", sandbox, "us-west-2"},
	}
	r := w.rand("networks")
	if err := w.drawNetworks(r); err != nil {
		return nil, err
	}
	w.drawActors(w.rand("actors"))
	for _, a := range w.actors {
		if a.kind != nhi.KindWorkload && a.when == always && a.weight >= 1 {
			w.busy = append(w.busy, a)
		}
	}
	w.drawWorkloads(w.rand("workloads"))
	return w, nil
}

// rand returns a generator of its own for a purpose, so that drawing more of
// one thing does not change another.
func (w *World) rand(purpose string) *rand.Rand {
	var h uint64 = 14695981039346656037 // FNV-1a, 64 bits
	for _, c := range []byte(purpose) {
		h = (h ^ uint64(c)) * 1099511628211
	}
	return rand.New(rand.NewPCG(w.Seed, h))
}

// Teams of the company, as owner tags name them.
var teams = []string{"payments", "ledger", "risk", "platform", "data", "checkout", "mobile", "support", "security", "treasury", "partners", "billing"}

var people = []string{"mara.quist", "tobias.lund", "ines.falk", "jonah.price", "adaeze.obi", "liam.varga", "sana.mirza", "peder.holm", "noor.haddad", "wren.castell", "iris.tanaka", "felix.amara"}

func pick[T any](r *rand.Rand, list []T) T { return list[r.IntN(len(list))] }

// native returns an id as IAM writes them: a prefix and 17 characters.
func native(r *rand.Rand, prefix string) string {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
	b := []byte(prefix)
	for range 17 {
		b = append(b, alphabet[r.IntN(len(alphabet))])
	}
	return string(b)
}

// accessKeyID returns a key id that carries its account, as IAM's do: the
// first bits after the prefix are the account's number.
func accessKeyID(r *rand.Rand, account string) string {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
	var n uint64
	for _, c := range []byte(account) {
		n = n*10 + uint64(c-'0')
	}
	bits := n<<7 | uint64(r.IntN(128)) // 48 bits: one flag, 40 of account, 7 more
	bits |= 1 << 47
	out := []byte("AKIA")
	for i := range 9 {
		out = append(out, alphabet[bits>>(43-5*i)&31])
	}
	out = append(out, alphabet[(bits<<2&28)|uint64(r.IntN(4))])
	for range 6 {
		out = append(out, alphabet[r.IntN(len(alphabet))])
	}
	return string(out)
}

func (w *World) account(i int) Account { return w.Accounts[i%len(w.Accounts)] }

func (a Account) arn(kind, name string) string {
	return fmt.Sprintf("arn:aws:iam::%s:%s/%s", a.ID, kind, name)
}
