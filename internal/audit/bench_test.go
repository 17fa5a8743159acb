package audit

import "testing"

func BenchmarkAppend(b *testing.B) {
	l := open(b, b.TempDir(), ed(b), Settings{})
	b.ReportAllocs()
	b.SetParallelism(16)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, err := l.Append(b.Context(), suspend("crd_1")); err != nil {
				b.Error(err)
				return
			}
		}
	})
}

func BenchmarkVerify(b *testing.B) {
	l := open(b, b.TempDir(), ed(b), Settings{})
	appendAll(b, l, 1000)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := l.Verify(b.Context(), nil); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/1000, "ns/entry")
}
