package bench

import (
	"syscall"
	"testing"
	"time"
)

// cpuTime is the time this process has spent on a processor.
func cpuTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// measure runs op b.N times, reports its processor time for each, and stores
// it in ns.
func measure(b *testing.B, ns *float64, op func(i int)) {
	b.Helper()
	op(0) // whatever is made at the first call is not counted
	b.ReportAllocs()
	start := cpuTime()
	i := 0
	for b.Loop() {
		op(i)
		i++
	}
	*ns = float64(cpuTime()-start) / float64(b.N)
	b.ReportMetric(*ns, "cpu-ns/op")
}
