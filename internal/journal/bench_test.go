package journal

import (
	"fmt"
	"testing"
)

func BenchmarkAppend(b *testing.B) {
	payload := make([]byte, 500)
	for _, noSync := range []bool{true, false} {
		for _, callers := range []int{1, 64} {
			b.Run(fmt.Sprintf("sync=%t/callers=%d", !noSync, callers), func(b *testing.B) {
				j := open(b, b.TempDir(), Settings{noSync: noSync})
				b.ReportAllocs()
				b.SetBytes(int64(len(payload)))
				b.SetParallelism(callers)
				b.RunParallel(func(pb *testing.PB) {
					for pb.Next() {
						if _, err := j.Append(payload); err != nil {
							b.Error(err)
							return
						}
					}
				})
			})
		}
	}
}

func BenchmarkVerify(b *testing.B) {
	dir := b.TempDir()
	j := open(b, dir, Settings{noSync: true})
	payload := make([]byte, 500)
	for range 20000 {
		if err := j.AppendAsync(payload); err != nil {
			if _, err := j.Append(payload); err != nil {
				b.Fatal(err)
			}
		}
	}
	j.Close()
	b.ReportAllocs()
	for b.Loop() {
		r, err := Verify(b.Context(), dir)
		if err != nil {
			b.Fatal(err)
		}
		b.SetBytes(r.Bytes)
	}
}
