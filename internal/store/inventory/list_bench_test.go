package inventory_test

import (
	"slices"
	"testing"
	"time"

	"github.com/muster-id/muster/internal/filter"
	"github.com/muster-id/muster/internal/inventory"
	"github.com/muster-id/muster/internal/store"
	"github.com/muster-id/muster/internal/store/enginetest"
)

// questions are what people ask of the identities. A test sees that an index
// answers each, a benchmark how fast.
var questions = []struct{ name, filter, order string }{
	{"first page", "", ""},
	{"by risk", "", "-risk"},
	{"by last use", "", "last_used"},
	{"by creation", "", "-created"},
	{"id", "id:nhi_1007919", ""},
	{"name", "name:prod-svc-n77", ""},
	{"beginning of a name", "name:prod-svc-n7*", ""},
	{"beginning of a name by risk", "name:prod-svc-n1*", "-risk"},
	{"kind", "kind:iam-user", ""},
	{"rare kind by risk", "kind:agent", "-risk"},
	{"provider", "provider:aws", ""},
	{"account", "account:11117", "last_used"},
	{"native", "native:AIDA77", ""},
	{"path", "path:arn:aws:iam::1111:user/svc-n77", ""},
	{"environment", "environment:prod", ""},
	{"environment by creation", "environment:test -kind:agent", "-created"},
	{"class", "class:production", "-risk"},
	{"owner", "owner:team:t7", ""},
	{"no owner", "-owner:*", "last_used"},
	{"state", "state:active", ""},
	{"rare state", "state:quarantined", "-risk"},
	{"risk", "risk>=50", ""},
	{"high risk", "risk>98", ""},
	{"not used for a month", "last_used<30d", ""},
	{"never used", "-last_used:*", ""},
	{"created", "created>7d", ""},
	{"shadow", "shadow:true", ""},
	{"static", "static:true -owner:*", "-risk"},
	{"admin", "admin:true", ""},
	{"attestable", "attestable:true", "-created"},
	{"two that are common", "kind:iam-user state:active", ""},
	{"idle in production", "last_used<30d class:production", "last_used"},
	{"word of all", "svc", ""},
	{"word of one", "n123456", ""},
	{"two words", "svc n1234", ""},
	{"word and field", "svc environment:prod risk>90", "-risk"},
	{"common ones that never meet", "kind:iam-role environment:stage risk>97", ""},
	{"nothing", "kind:agent state:quarantined", ""},
}

// BenchmarkLists asks what people ask of 200,000 identities with 600,000
// credentials: a first page with its total, and the page in the middle.
// cpu-ms is what a question takes of the processor, the database's included,
// p99-ms the slowest of each hundred by the clock.
func BenchmarkLists(b *testing.B) {
	s, db := opened(b, inventory.DefaultSettings())
	fill(b, db, 200_000)
	for _, q := range questions {
		e, err := filter.Identities.Parse(q.filter, time.Now())
		if err != nil {
			b.Fatal(err)
		}
		order, err := filter.Identities.ParseOrder(q.order)
		if err != nil {
			b.Fatal(err)
		}
		b.Run(q.name, func(b *testing.B) {
			measure(b, func() error {
				_, err := s.Identities(b.Context(), inventory.Filter{Expr: e, Order: order, Count: true})
				return err
			})
		})
		b.Run(q.name+", facets", func(b *testing.B) {
			measure(b, func() error {
				_, err := s.Facets(b.Context(), e, nil)
				return err
			})
		})
	}
	for _, deep := range []struct {
		order string
		after inventory.Cursor
	}{{"name", inventory.Cursor{Text: "stage-svc-n5", ID: "nhi_1"}}, {"-risk", inventory.Cursor{Number: 50, ID: "nhi_1500000"}}, {"created", inventory.Cursor{Number: 100_000_000_000, ID: "nhi_1"}}} {
		order, err := filter.Identities.ParseOrder(deep.order)
		if err != nil {
			b.Fatal(err)
		}
		b.Run("page in the middle by "+deep.order, func(b *testing.B) {
			measure(b, func() error {
				_, err := s.Identities(b.Context(), inventory.Filter{Order: order, After: deep.after})
				return err
			})
		})
	}
	b.Run("counts of the overview", func(b *testing.B) {
		measure(b, func() error {
			_, err := s.Counts(b.Context(), nil)
			return err
		})
	})
}

// measure runs what a benchmark asks.
func measure(b *testing.B, ask func() error) {
	b.Helper()
	var took []time.Duration
	before := enginetest.CPU()
	for b.Loop() {
		start := time.Now()
		if err := ask(); err != nil {
			b.Fatal(err)
		}
		took = append(took, time.Since(start))
	}
	b.ReportMetric(float64((enginetest.CPU()-before).Microseconds())/1000/float64(len(took)), "cpu-ms")
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds())/1000, "p99-ms")
	b.ReportMetric(0, "ns/op")
}

// fill writes n identities, their words and credentials without the domain.
func fill(b testing.TB, db *store.DB, n int) {
	b.Helper()
	run := func(queries []string, args ...any) {
		b.Helper()
		_, err := db.Write(b.Context(), func(tx *store.Tx) error {
			for _, query := range queries {
				if _, err := tx.Exec(b.Context(), query, args...); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			b.Fatal(err)
		}
	}
	const part = 10_000 // of a write
	for from := 0; from < n; from += part {
		run([]string{`
			WITH RECURSIVE n(i) AS (SELECT CAST($1 AS BIGINT) + 1 UNION ALL SELECT i + 1 FROM n WHERE i < $2)
			INSERT INTO identity (id, kind, provider, account, native, name, path, environment, class, purpose, state, shadow, owner, owner_confidence,
			            owner_source, risk, labels, created, first_seen, last_seen, attestable, not_before, alias, observed, missed, words, static, admin)
			SELECT 'nhi_' || (1000000 + i * 7919 % 1000003), CASE WHEN i % 5000 = 0 THEN 'agent' WHEN i % 3 = 0 THEN 'iam-role' ELSE 'iam-user' END,
			       'aws', '1111' || (i % 40), 'AIDA' || i, CASE i % 4 WHEN 0 THEN 'prod' WHEN 1 THEN 'stage' WHEN 2 THEN 'test' ELSE 'dev' END || '-svc-n' || i,
			       'arn:aws:iam::1111:user/svc-n' || i, CASE i % 4 WHEN 0 THEN 'prod' WHEN 1 THEN 'stage' WHEN 2 THEN 'test' ELSE 'dev' END,
			       CASE WHEN i % 4 = 0 THEN 'production' ELSE 'nonproduction' END, '', CASE WHEN i % 1501 = 0 THEN 'quarantined' ELSE 'active' END, CASE WHEN i % 997 = 0 THEN 1 ELSE 0 END,
			       CASE WHEN i / 200 % 5 = 0 THEN '' ELSE 'team:t' || (i % 40 * 5 + i / 40 % 5) END, 1, 'tag', CASE WHEN i / 17 % 10 = 0 THEN i % 100 ELSE 0 END, '',
			       CAST(1000000 AS BIGINT) * i, CAST(1000000 AS BIGINT) * i, CASE WHEN i % 9 = 0 THEN 0 ELSE 1700000000000000 + CAST(300000000 AS BIGINT) * i END,
			       CASE WHEN i % 3 = 0 THEN i / 3 % 2 ELSE 0 END, 0, '', 0, 0, 'svc n' || i, CASE WHEN i / 7 % 4 = 0 THEN 1 ELSE 0 END, CASE WHEN i / 13 % 50 = 0 THEN 1 ELSE 0 END
			FROM   n`, `
			INSERT INTO identity_word (word, identity_id)
			SELECT 'svc', id FROM identity WHERE created > $1 * CAST(1000000 AS BIGINT) AND created <= $2 * CAST(1000000 AS BIGINT)`, `
			INSERT INTO identity_word (word, identity_id)
			SELECT substr(words, 5), id FROM identity WHERE created > $1 * CAST(1000000 AS BIGINT) AND created <= $2 * CAST(1000000 AS BIGINT)`, `
			INSERT INTO credential (id, identity_id, kind, provider, account, public_id, verifier, fingerprint, state, reason, consumer, native,
			            created, expires, rotated, last_used, risk)
			SELECT 'crd_' || k || id, id, 'aws-access-key', 'aws', account, 'AKIA' || k || native, NULL, '', CASE WHEN k = 3 THEN 'revoked' ELSE 'active' END, '', '', native,
			       created, CASE WHEN k = 1 AND static = 1 THEN 0 ELSE created + k END, 0, last_seen, 0
			FROM   identity, (SELECT 1 AS k UNION ALL SELECT 2 UNION ALL SELECT 3) AS three
			WHERE  created > $1 * CAST(1000000 AS BIGINT)
			AND    created <= $2 * CAST(1000000 AS BIGINT)`, `
			INSERT INTO grant_ (id, identity_id, kind, name, document, admin)
			SELECT 'g' || id, id, 'inline-policy', 'all', '', 1 FROM identity WHERE admin = 1 AND created > $1 * CAST(1000000 AS BIGINT) AND created <= $2 * CAST(1000000 AS BIGINT)`,
		}, from, min(n, from+part))
	}
	run([]string{`
			INSERT INTO identity_tally (provider, account, kind, environment, class, owner, state, shadow, static, admin, attestable, band, n)
			SELECT provider, account, kind, environment, class, owner, state, shadow, static, admin, attestable,
			       CASE WHEN risk >= 75 THEN 75 WHEN risk >= 50 THEN 50 WHEN risk >= 25 THEN 25 WHEN risk >= 1 THEN 1 ELSE 0 END, COUNT(*)
			FROM   identity
			GROUP BY 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12`,
	})
	if enginetest.Postgres() { // as its own daemon does within a minute
		run([]string{"ANALYZE identity", "ANALYZE identity_word", "ANALYZE identity_tally", "ANALYZE credential"})
	}
}
