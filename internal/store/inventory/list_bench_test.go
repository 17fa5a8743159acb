package inventory_test

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/muster-id/muster/internal/filter"
	"github.com/muster-id/muster/internal/inventory"
	"github.com/muster-id/muster/internal/store"
)

// BenchmarkLists asks what people ask of 200,000 identities. It reports the
// slowest of each hundred.
func BenchmarkLists(b *testing.B) {
	s, db := opened(b, inventory.DefaultSettings())
	fill(b, db, 200_000)
	for _, tt := range []struct{ name, filter, order string }{
		{"all", "", ""},
		{"by-risk", "", "-risk"},
		{"common", "kind:iam-user state:active", ""},
		{"common-by-use", "environment:env1 -owner:*", "last_used"},
		{"rare", "kind:agent", "-risk"},
		{"idle", "last_used<30d class:production", "last_used"},
		{"word-of-all", "svc", ""},
		{"word-of-one", "n123456", ""},
		{"words", "svc n1234", ""},
		{"nothing", "kind:iam-role environment:env3 risk>99", ""},
	} {
		e, err := filter.Identities.Parse(tt.filter, time.Now())
		if err != nil {
			b.Fatal(err)
		}
		order, err := filter.Identities.ParseOrder(tt.order)
		if err != nil {
			b.Fatal(err)
		}
		for _, counted := range []bool{false, true} {
			b.Run(fmt.Sprintf("%s/counted=%v", tt.name, counted), func(b *testing.B) {
				var took []time.Duration
				for b.Loop() {
					start := time.Now()
					if _, err := s.Identities(b.Context(), inventory.Filter{Expr: e, Order: order, Count: counted}); err != nil {
						b.Fatal(err)
					}
					took = append(took, time.Since(start))
				}
				slices.Sort(took)
				b.ReportMetric(float64(took[len(took)*99/100].Microseconds())/1000, "p99-ms")
			})
		}
	}
	b.Run("facets", func(b *testing.B) {
		for b.Loop() {
			if _, err := s.Facets(b.Context(), filter.Expr{}, nil); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// fill writes n identities and their words without the domain.
func fill(b *testing.B, db *store.DB, n int) {
	b.Helper()
	_, err := db.Write(b.Context(), func(tx *store.Tx) error {
		for _, query := range []string{`
			WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < $1)
			INSERT INTO identity (id, kind, provider, account, native, name, path, environment, class, purpose, state, shadow, owner, owner_confidence,
			            owner_source, risk, labels, created, first_seen, last_seen, attestable, not_before, alias, observed, missed, words)
			SELECT 'nhi_' || (1000000 + i * 7919 % 1000003), CASE WHEN i % 5000 = 0 THEN 'agent' WHEN i % 3 = 0 THEN 'iam-role' ELSE 'iam-user' END,
			       'aws', '1111' || (i % 40), 'AIDA' || i, 'svc-n' || i, 'arn:aws:iam::1111:user/svc-n' || i, 'env' || (i % 4),
			       CASE WHEN i % 2 = 0 THEN 'production' ELSE 'nonproduction' END, '', 'active', CASE WHEN i % 997 = 0 THEN 1 ELSE 0 END, CASE WHEN i % 5 = 0 THEN '' ELSE 'team:t' || (i % 50) END, 1,
			       'tag', i % 100, '', CAST(1000000 AS BIGINT) * i, CAST(1000000 AS BIGINT) * i, CASE WHEN i % 9 = 0 THEN 0 ELSE 1700000000000000 + CAST(300000000 AS BIGINT) * i END, 0, 0, '', 0, 0, 'svc n' || i
			FROM   n`, `
			INSERT INTO identity_word (word, identity_id)
			SELECT 'svc', id FROM identity WHERE $1 > 0`, `
			INSERT INTO identity_word (word, identity_id)
			SELECT substr(name, 5), id FROM identity WHERE $1 > 0`,
		} {
			if _, err := tx.Exec(context.WithoutCancel(b.Context()), query, n); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		b.Fatal(err)
	}
}
