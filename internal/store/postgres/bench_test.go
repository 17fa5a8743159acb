package postgres_test

import (
	"syscall"
	"testing"
	"time"

	"github.com/muster-id/muster/internal/store"
	"github.com/muster-id/muster/internal/store/postgres/pgtest"
)

// BenchmarkWrite writes one row and its change from several goroutines, with
// fsync on: the commit is shared.
func BenchmarkWrite(b *testing.B) {
	cluster := pgtest.New(b, true)
	cluster.Create(b, "m")
	db := open(b, cluster.URL("m"))
	b.ReportAllocs()
	own := func() time.Duration {
		var u syscall.Rusage
		if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
			b.Fatal(err)
		}
		return time.Duration(u.Utime.Nano() + u.Stime.Nano())
	}
	before, theirs := own(), cluster.CPU()
	defer func() {
		b.ReportMetric(float64((own()-before).Microseconds())/float64(b.N), "own-cpu-us/op")
		b.ReportMetric(float64((cluster.CPU()-theirs).Microseconds())/float64(b.N), "server-cpu-us/op")
	}()
	b.SetParallelism(32)
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			_, err := db.Write(b.Context(), func(tx *store.Tx) error {
				if err := tx.SetPosition(b.Context(), "c", 1); err != nil {
					return err
				}
				return tx.Change("test", "k", 1)
			})
			if err != nil {
				b.Error(err)
				return
			}
		}
	})
}
